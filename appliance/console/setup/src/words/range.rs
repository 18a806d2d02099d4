//! Ranges of addresses that cannot be.

use super::Words;
use crate::language::Text;
use crate::problem::Severity;

pub(super) static NO_RANGE: Words = Words {
    number: "RK-SET-0210",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} is not a range of addresses",
        "{key}：{value} 不是位址範圍",
        "{key}：{value} 不是地址范围",
    ),
    why: Text::new(
        "The first and the last address are needed.",
        "需要第一個與最後一個位址。",
        "需要第一个与最后一个地址。",
    ),
    fix: Text::new(
        "For example 10.10.10.100-10.10.10.199.",
        "例如 10.10.10.100-10.10.10.199。",
        "例如 10.10.10.100-10.10.10.199。",
    ),
};

pub(super) static BACKWARDS: Words = Words {
    number: "RK-SET-0211",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} ends before it begins",
        "{key}：{value} 的結尾在開頭之前",
        "{key}：{value} 的结尾在开头之前",
    ),
    why: Text::new("There is no address in it.", "裡面沒有任何位址。", "里面没有任何地址。"),
    fix: Text::new("Write the lower address first.", "請先寫較小的位址。", "请先写较小的地址。"),
};

pub(super) static OUTSIDE_RANGE: Words = Words {
    number: "RK-SET-0212",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} is not inside {other}",
        "{key}：{value} 不在 {other} 之內",
        "{key}：{value} 不在 {other} 之内",
    ),
    why: Text::new(
        "Machines with these addresses could not be reached there.",
        "使用這些位址的機器在那裡連不到。",
        "使用这些地址的机器在那里连不到。",
    ),
    fix: Text::new(
        "Take both ends from {other}, or correct that network.",
        "兩端都請用 {other} 中的位址，或改正該網路。",
        "两端都请用 {other} 中的地址，或改正该网络。",
    ),
};

pub(super) static WHOLE_NETWORK: Words = Words {
    number: "RK-SET-0213",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} holds the own or the broadcast address of {other}",
        "{key}：{value} 包含 {other} 的網路位址或廣播位址",
        "{key}：{value} 包含 {other} 的网络地址或广播地址",
    ),
    why: Text::new(
        "No machine can have these two.",
        "沒有機器可以使用這兩個位址。",
        "没有机器可以使用这两个地址。",
    ),
    fix: Text::new(
        "Leave out the first and the last address of the network.",
        "請不要包含該網路的第一個與最後一個位址。",
        "请不要包含该网络的第一个与最后一个地址。",
    ),
};

pub(super) static TAKEN_IN_RANGE: Words = Words {
    number: "RK-SET-0214",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} holds {other}, which is taken",
        "{key}：{value} 包含已使用的 {other}",
        "{key}：{value} 包含已使用的 {other}",
    ),
    why: Text::new(
        "Two machines would have one address: this one's or the gateway's.",
        "兩台機器會有同一個位址：這台機器或閘道的。",
        "两台机器会有同一个地址：这台机器或网关的。",
    ),
    fix: Text::new(
        "Take a range before or behind it.",
        "請用它之前或之後的範圍。",
        "请用它之前或之后的范围。",
    ),
};
