//! Addresses and networks that cannot be.

use super::Words;
use crate::language::Text;
use crate::problem::Severity;

pub(super) static NO_PREFIX: Words = Words {
    number: "RK-SET-0201",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} is not an IPv4 address with a prefix",
        "{key}：{value} 不是帶前綴長度的 IPv4 位址",
        "{key}：{value} 不是带前缀长度的 IPv4 地址",
    ),
    why: Text::new(
        "Without the prefix it is not known how large the network is.",
        "沒有前綴長度就不知道網路有多大。",
        "没有前缀长度就不知道网络有多大。",
    ),
    fix: Text::new("For example 10.10.10.1/24.", "例如 10.10.10.1/24。", "例如 10.10.10.1/24。"),
};

pub(super) static BAD_PREFIX: Words = Words {
    number: "RK-SET-0202",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: a network of /{other} cannot be used",
        "{key}：無法使用 /{other} 的網路",
        "{key}：无法使用 /{other} 的网络",
    ),
    why: Text::new(
        "It has no room for servers, or is larger than anybody's.",
        "它容不下伺服器，或大得不合理。",
        "它容不下服务器，或大得不合理。",
    ),
    fix: Text::new(
        "A prefix from /8 to /30; /24 is usual.",
        "前綴長度請用 /8 到 /30，通常是 /24。",
        "前缀长度请用 /8 到 /30，通常是 /24。",
    ),
};

pub(super) static NOBODYS_ADDRESS: Words = Words {
    number: "RK-SET-0203",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} is the network's own or its broadcast address",
        "{key}：{value} 是網路本身或廣播位址",
        "{key}：{value} 是网络本身或广播地址",
    ),
    why: Text::new("No machine can have it.", "沒有機器可以使用它。", "没有机器可以使用它。"),
    fix: Text::new(
        "Take an address between the first and the last of {other}.",
        "請用 {other} 中第一個與最後一個之間的位址。",
        "请用 {other} 中第一个与最后一个之间的地址。",
    ),
};

pub(super) static NOWHERE: Words = Words {
    number: "RK-SET-0204",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {other} is an address that servers cannot reach",
        "{key}：伺服器無法連到 {other}",
        "{key}：服务器无法连到 {other}",
    ),
    why: Text::new(
        "It is kept for loopback, multicast or nothing at all.",
        "它保留給本機迴路、多點傳送，或完全不使用。",
        "它保留给本机环回、组播，或完全不使用。",
    ),
    fix: Text::new(
        "Take a private one, for example from 10.0.0.0/8.",
        "請用私有位址，例如 10.0.0.0/8 之中的。",
        "请用私有地址，例如 10.0.0.0/8 之中的。",
    ),
};

pub(super) static NOT_A_NETWORK: Words = Words {
    number: "RK-SET-0205",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} is an address in a network, not a network",
        "{key}：{value} 是網路中的位址，不是網路",
        "{key}：{value} 是网络中的地址，不是网络",
    ),
    why: Text::new(
        "It would not be clear which network is meant.",
        "這樣不清楚指的是哪個網路。",
        "这样不清楚指的是哪个网络。",
    ),
    fix: Text::new("Write {other}.", "請寫 {other}。", "请写 {other}。"),
};

pub(super) static OVERLAP: Words = Words {
    number: "RK-SET-0206",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} overlaps {other}",
        "{key}：{value} 與 {other} 重疊",
        "{key}：{value} 与 {other} 重叠",
    ),
    why: Text::new(
        "An address in both could be either's: packets would go astray.",
        "同時屬於兩邊的位址會讓封包送錯地方。",
        "同时属于两边的地址会让数据包送错地方。",
    ),
    fix: Text::new(
        "Take networks that share no address, for example 10.10.10.0/24 and 10.20.20.0/24.",
        "請用沒有共同位址的網路，例如 10.10.10.0/24 與 10.20.20.0/24。",
        "请用没有共同地址的网络，例如 10.10.10.0/24 与 10.20.20.0/24。",
    ),
};

pub(super) static NO_ADDRESS: Words = Words {
    number: "RK-SET-0207",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} is not an IPv4 address",
        "{key}：{value} 不是 IPv4 位址",
        "{key}：{value} 不是 IPv4 地址",
    ),
    why: Text::new(
        "It has four numbers from 0 to 255, and no prefix here.",
        "IPv4 位址是四個 0 到 255 的數字，這裡不加前綴長度。",
        "IPv4 地址是四个 0 到 255 的数字，这里不加前缀长度。",
    ),
    fix: Text::new("For example 192.168.1.1.", "例如 192.168.1.1。", "例如 192.168.1.1。"),
};

pub(super) static OUTSIDE_ADDRESS: Words = Words {
    number: "RK-SET-0208",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} is not in {other}",
        "{key}：{value} 不在 {other} 之中",
        "{key}：{value} 不在 {other} 之中",
    ),
    why: Text::new("This machine could not reach it.", "這台機器連不到它。", "这台机器连不到它。"),
    fix: Text::new(
        "Give an address in {other}, or correct that network.",
        "請用 {other} 中的位址，或改正該網路。",
        "请用 {other} 中的地址，或改正该网络。",
    ),
};

pub(super) static OWN_ADDRESS: Words = Words {
    number: "RK-SET-0209",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: {value} is this machine's own address",
        "{key}：{value} 是這台機器自己的位址",
        "{key}：{value} 是这台机器自己的地址",
    ),
    why: Text::new("It cannot be its own way out.", "它不能是自己的出口。", "它不能是自己的出口。"),
    fix: Text::new("Give the router's address.", "請輸入路由器的位址。", "请输入路由器的地址。"),
};
