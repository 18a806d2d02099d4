//! Answers that cannot be, in themselves.

use super::Words;
use crate::language::Text;
use crate::problem::Severity;

pub(super) static NEEDED: Words = Words {
    number: "RK-SET-0101",
    severity: Severity::Stop,
    what: Text::new("{key} has no answer", "{key} 沒有答案", "{key} 没有答案"),
    why: Text::new(
        "There is nothing that would be right everywhere.",
        "沒有到處都適用的預設值。",
        "没有到处都适用的默认值。",
    ),
    fix: Text::new(
        "Answer it; ? explains the question.",
        "請回答；輸入 ? 可看說明。",
        "请回答；输入 ? 可看说明。",
    ),
};

pub(super) static UNPRINTABLE: Words = Words {
    number: "RK-SET-0102",
    severity: Severity::Stop,
    what: Text::new(
        "{key} is too long or holds characters that do not show",
        "{key} 太長，或含有無法顯示的字元",
        "{key} 太长，或含有无法显示的字符",
    ),
    why: Text::new(
        "Nobody could see what was answered.",
        "這樣沒有人看得出答案是什麼。",
        "这样没有人看得出答案是什么。",
    ),
    fix: Text::new(
        "Write it in at most 200 printable characters.",
        "請用最多 200 個可顯示的字元。",
        "请用最多 200 个可显示的字符。",
    ),
};

pub(super) static NOT_A_CHOICE: Words = Words {
    number: "RK-SET-0103",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} is not one of the choices",
        "{key}：{value} 不在選項之中",
        "{key}：{value} 不在选项之中",
    ),
    why: Text::new("Only these are known: {other}.", "可用的選項：{other}。", "可用的选项：{other}。"),
    fix: Text::new(
        "Give one of them, or its number in the list.",
        "請輸入其中一個，或它在清單中的號碼。",
        "请输入其中一个，或它在列表中的号码。",
    ),
};

pub(super) static BAD_SITE: Words = Words {
    number: "RK-SET-0104",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} cannot be a site's name",
        "{key}：{value} 不能作為站點名稱",
        "{key}：{value} 不能作为站点名称",
    ),
    why: Text::new(
        "It stands in certificates and file names.",
        "它會出現在憑證與檔名中。",
        "它会出现在证书与文件名中。",
    ),
    fix: Text::new(
        "1 to 40 lower-case letters, digits and inner hyphens, for example lab.",
        "用 1 到 40 個小寫英文字母、數字或中間的連字號，例如 lab。",
        "用 1 到 40 个小写英文字母、数字或中间的连字符，例如 lab。",
    ),
};

pub(super) static BAD_INTERFACE: Words = Words {
    number: "RK-SET-0105",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} cannot be a card's name",
        "{key}：{value} 不能是網卡名稱",
        "{key}：{value} 不能是网卡名称",
    ),
    why: Text::new(
        "The kernel's names have at most 15 characters, the VLAN with them: letters, digits, and . _ -",
        "核心的名稱最多 15 個字元（含 VLAN）：英文字母、數字與 . _ -",
        "内核的名称最多 15 个字符（含 VLAN）：英文字母、数字与 . _ -",
    ),
    fix: Text::new(
        "Give a name that ip link shows, for example eno1.",
        "請輸入 ip link 顯示的名稱，例如 eno1。",
        "请输入 ip link 显示的名称，例如 eno1。",
    ),
};

pub(super) static SAME_INTERFACE: Words = Words {
    number: "RK-SET-0106",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} is the card to the site's network already",
        "{key}：{value} 已是連到站點網路的網卡",
        "{key}：{value} 已是连到站点网络的网卡",
    ),
    why: Text::new(
        "Servers would be given addresses in the middle of the site's network.",
        "伺服器的位址會直接發到站點網路裡。",
        "服务器的地址会直接分配到站点网络里。",
    ),
    fix: Text::new(
        "Take another card, set management.vlan first, or answer none for the uplink.",
        "請選另一張網卡，或先設定 management.vlan，或把對外網卡設為 none。",
        "请选另一张网卡，或先设置 management.vlan，或把对外网卡设为 none。",
    ),
};

pub(super) static BAD_VLAN: Words = Words {
    number: "RK-SET-0107",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} is no VLAN",
        "{key}：{value} 不是 VLAN 編號",
        "{key}：{value} 不是 VLAN 编号",
    ),
    why: Text::new(
        "VLANs have numbers from 1 to 4094.",
        "VLAN 編號為 1 到 4094。",
        "VLAN 编号为 1 到 4094。",
    ),
    fix: Text::new(
        "Give the number that the switch has for it.",
        "請輸入交換器上設定的編號。",
        "请输入交换机上设置的编号。",
    ),
};

pub(super) static SAME_VLAN: Words = Words {
    number: "RK-SET-0108",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: VLAN {value} is that of {other} already",
        "{key}：VLAN {value} 已用於 {other}",
        "{key}：VLAN {value} 已用于 {other}",
    ),
    why: Text::new("Both networks would be one.", "兩個網路會變成同一個。", "两个网络会变成同一个。"),
    fix: Text::new("Give another number.", "請用另一個編號。", "请用另一个编号。"),
};

pub(super) static BAD_ADDRESSES: Words = Words {
    number: "RK-SET-0109",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} is not a list of up to four addresses",
        "{key}：{value} 不是最多四個位址的清單",
        "{key}：{value} 不是最多四个地址的列表",
    ),
    why: Text::new(
        "Names are not looked up on this machine.",
        "這台機器不查詢名稱。",
        "这台机器不查询名称。",
    ),
    fix: Text::new(
        "Addresses with commas between, for example 192.168.1.1, or none.",
        "以逗號分隔的位址，例如 192.168.1.1，或 none。",
        "以逗号分隔的地址，例如 192.168.1.1，或 none。",
    ),
};
