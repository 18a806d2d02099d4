//! What is wrong with an answers file, and with what is written.

use super::Words;
use crate::language::Text;
use crate::problem::Severity;

pub(super) static NOT_TOML: Words = Words {
    number: "RK-SET-0301",
    severity: Severity::Stop,
    what: Text::new(
        "the file is not TOML: {value}",
        "這個檔案不是 TOML：{value}",
        "这个文件不是 TOML：{value}",
    ),
    why: Text::new("No answer can be read from it.", "無法從中讀出任何答案。", "无法从中读出任何答案。"),
    fix: Text::new(
        "rackwright setup --dump prints one to begin with.",
        "rackwright setup --dump 會印出一份可供修改的檔案。",
        "rackwright setup --dump 会打印一份可供修改的文件。",
    ),
};

pub(super) static UNKNOWN_KEY: Words = Words {
    number: "RK-SET-0302",
    severity: Severity::Stop,
    what: Text::new(
        "there is no answer called {value}",
        "沒有名為 {value} 的答案",
        "没有名为 {value} 的答案",
    ),
    why: Text::new(
        "What it means would be left out without a word.",
        "它的意思會在沒有提示的情況下被忽略。",
        "它的意思会在没有提示的情况下被忽略。",
    ),
    fix: Text::new(
        "Remove it; rackwright setup --schema lists all there are.",
        "請移除；rackwright setup --schema 會列出所有答案。",
        "请移除；rackwright setup --schema 会列出所有答案。",
    ),
};

pub(super) static MISSPELT_KEY: Words = Words {
    number: "RK-SET-0303",
    severity: Severity::Stop,
    what: Text::new(
        "there is no answer called {value}; did you mean {other}?",
        "沒有名為 {value} 的答案，是否指 {other}？",
        "没有名为 {value} 的答案，是否指 {other}？",
    ),
    why: Text::new(
        "What it means would be left out without a word.",
        "它的意思會在沒有提示的情況下被忽略。",
        "它的意思会在没有提示的情况下被忽略。",
    ),
    fix: Text::new("Write {other}.", "請寫 {other}。", "请写 {other}。"),
};

pub(super) static WRONG_TYPE: Words = Words {
    number: "RK-SET-0304",
    severity: Severity::Stop,
    what: Text::new(
        "{key} is {value}, not a text",
        "{key} 是 {value}，不是文字",
        "{key} 是 {value}，不是文本",
    ),
    why: Text::new(
        "Answers are texts, or whole numbers for VLANs.",
        "答案是文字，VLAN 可以是整數。",
        "答案是文本，VLAN 可以是整数。",
    ),
    fix: Text::new("Put the answer in quotation marks.", "請把答案放在引號中。", "请把答案放在引号中。"),
};

pub(super) static TOO_LARGE: Words = Words {
    number: "RK-SET-0305",
    severity: Severity::Stop,
    what: Text::new(
        "the file has more than {value} bytes",
        "這個檔案超過 {value} 位元組",
        "这个文件超过 {value} 字节",
    ),
    why: Text::new(
        "No answers file that a person wrote is as long.",
        "沒有人寫的答案檔案會這麼長。",
        "没有人写的答案文件会这么长。",
    ),
    fix: Text::new("See whether it is the right file.", "請確認檔案是否正確。", "请确认文件是否正确。"),
};

pub(super) static UNUSED: Words = Words {
    number: "RK-SET-0306",
    severity: Severity::Warning,
    what: Text::new("{key} = {value} is not used", "{key} = {value} 不會使用", "{key} = {value} 不会使用"),
    why: Text::new(
        "With the other answers there is no such thing.",
        "依其他答案，不需要這一項。",
        "依其他答案，不需要这一项。",
    ),
    fix: Text::new(
        "Remove it, or look at topology, uplink.method and management.dhcp.",
        "請移除，或檢查 topology、uplink.method 與 management.dhcp。",
        "请移除，或检查 topology、uplink.method 与 management.dhcp。",
    ),
};

pub(super) static CONFIGURED: Words = Words {
    number: "RK-SET-0401",
    severity: Severity::Stop,
    what: Text::new(
        "there is a configuration already: {value}",
        "已經有設定：{value}",
        "已经有配置：{value}",
    ),
    why: Text::new(
        "A controller that runs would lose what it was told.",
        "運作中的控制器會失去原來的設定。",
        "运行中的控制器会失去原来的配置。",
    ),
    fix: Text::new(
        "Edit that file; or rackwright setup --force, which keeps a copy of it.",
        "請直接修改該檔案；或用 rackwright setup --force，會保留一份副本。",
        "请直接修改该文件；或用 rackwright setup --force，会保留一份副本。",
    ),
};

pub(super) static NOT_WRITTEN: Words = Words {
    number: "RK-SET-0402",
    severity: Severity::Stop,
    what: Text::new("it could not be written: {value}", "無法寫入：{value}", "无法写入：{value}"),
    why: Text::new(
        "This machine is not the controller yet; all answers are kept.",
        "這台機器還不是控制器；所有答案都已保留。",
        "这台机器还不是控制器；所有答案都已保留。",
    ),
    fix: Text::new(
        "Remove the cause, then confirm once more.",
        "請排除原因，然後再確認一次。",
        "请排除原因，然后再确认一次。",
    ),
};
