//! Who speaks, what it is called, how it is cabled.

use super::always;
use crate::language::Text;
use crate::question::{Choice, Id, Kind, Question};
use crate::topology;

pub(crate) static LANGUAGE: Question = Question {
    id: Id::Language,
    key: "language",
    kind: Kind::Choice(&[
        Choice::new("en", Text::same("English")),
        Choice::new("zh-TW", Text::same("Traditional Chinese (Zhongwen, 繁體中文)")),
        Choice::new("zh-CN", Text::same("Simplified Chinese (Zhongwen, 简体中文)")),
    ]),
    title: Text::same("Language (語言, 语言)"),
    help: Text::new(
        "Set-up goes on in this language. If the Chinese characters in this list cannot be read here, the console has no \
         font for them: use English, or run rackwright setup over a terminal that has one.",
        "安裝精靈接下來使用這個語言。若看不到清單中的中文字，表示這個主控台沒有中文字型：請用英文，或從有中文字型的終端機執行 \
         rackwright setup。",
        "安装向导接下来使用这个语言。若看不到列表中的中文字，表示这个控制台没有中文字体：请用英文，或从有中文字体的终端运行 \
         rackwright setup。",
    ),
    applies: always,
    asked: always,
    default: |_| "en".to_owned(),
};

pub(crate) static SITE: Question = Question {
    id: Id::Site,
    key: "site",
    kind: Kind::Site,
    title: Text::new("Name of this site", "站點名稱", "站点名称"),
    help: Text::new(
        "Every server's identity carries it, so it stays for good. 1 to 40 lower-case letters, digits and inner hyphens, \
         for example lab or school-2.",
        "每台伺服器的身分都帶有這個名稱，之後不會再改。1 到 40 個小寫英文字母、數字或中間的連字號，例如 lab 或 school-2。",
        "每台服务器的身份都带有这个名称，之后不会再改。1 到 40 个小写英文字母、数字或中间的连字符，例如 lab 或 school-2。",
    ),
    applies: always,
    asked: always,
    default: |_| "lab".to_owned(),
};

pub(crate) static TOPOLOGY: Question = Question {
    id: Id::Topology,
    key: "topology",
    kind: Kind::Choice(&topology::CHOICES),
    title: Text::new("How the servers are cabled", "伺服器的接線方式", "服务器的接线方式"),
    help: Text::new(
        "Nodes are servers that boot from this machine over the management network. More cards keep the traffic of \
         instances away from it; a network node carries what goes in and out of the cloud. It can be changed as long as no \
         server has a role. The pictures:",
        "節點是透過管理網路從這台機器開機的伺服器。網卡多，虛擬機器的流量就不占用管理網路；網路節點負責雲端的對外流量。\
         在伺服器取得角色之前都可以更改。圖示：",
        "节点是通过管理网络从这台机器启动的服务器。网卡多，虚拟机的流量就不占用管理网络；网络节点负责云的对外流量。\
         在服务器取得角色之前都可以更改。图示：",
    ),
    applies: always,
    asked: always,
    default: |_| "basic".to_owned(),
};
