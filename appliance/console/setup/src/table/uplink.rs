//! The way to the site's own network.

use super::always;
use crate::answers::Context;
use crate::default;
use crate::language::Text;
use crate::question::{Choice, Id, Kind, Question};

const DHCP: &str = "dhcp";
const STATIC: &str = "static";

fn there_is_one(context: &Context<'_>) -> bool {
    context.some(Id::UplinkInterface).is_some()
}

fn is_static(context: &Context<'_>) -> bool {
    context.is(Id::UplinkMethod, STATIC)
}

pub(crate) static INTERFACE: Question = Question {
    id: Id::UplinkInterface,
    key: "uplink.interface",
    kind: Kind::Interface { optional: true },
    title: Text::new("Card to the site's network", "連到站點網路的網卡", "连到站点网络的网卡"),
    help: Text::new(
        "The network where your office and the Internet are. This machine is reached over it, and never gives addresses \
         there. none: there is no such cable, everything is done at this console.",
        "辦公室與網際網路所在的網路。您從這裡連到這台機器；它不會在這裡發放位址。none：沒有這條線，一切在這個主控台操作。",
        "办公室与互联网所在的网络。您从这里连到这台机器；它不会在这里分配地址。none：没有这条线，一切在这个控制台操作。",
    ),
    applies: always,
    asked: always,
    default: default::uplink,
};

pub(crate) static METHOD: Question = Question {
    id: Id::UplinkMethod,
    key: "uplink.method",
    kind: Kind::Choice(&[
        Choice::new(
            DHCP,
            Text::new("the site's DHCP gives an address", "由站點的 DHCP 取得位址", "由站点的 DHCP 取得地址"),
        ),
        Choice::new(STATIC, Text::new("a fixed address", "固定位址", "固定地址")),
    ]),
    title: Text::new("How that card gets its address", "這張網卡如何取得位址", "这张网卡如何取得地址"),
    help: Text::new(
        "With dhcp, ask whoever looks after the site's network for a reservation: an address that changes is hard to find \
         again.",
        "使用 dhcp 時，請向站點網路管理員申請保留位址，否則位址改變後不容易找到這台機器。",
        "使用 dhcp 时，请向站点网络管理员申请保留地址，否则地址改变后不容易找到这台机器。",
    ),
    applies: there_is_one,
    asked: always,
    default: |_| DHCP.to_owned(),
};

pub(crate) static ADDRESS: Question = Question {
    id: Id::UplinkAddress,
    key: "uplink.address",
    kind: Kind::Host,
    title: Text::new(
        "Fixed address of this machine there, with prefix",
        "這台機器在該網路的固定位址與前綴長度",
        "这台机器在该网络的固定地址与前缀长度",
    ),
    help: Text::new(
        "For example 192.168.1.10/24: an address that nobody else has and that the site's DHCP does not give away.",
        "例如 192.168.1.10/24：沒有別人使用，也不在站點 DHCP 發放範圍內的位址。",
        "例如 192.168.1.10/24：没有别人使用，也不在站点 DHCP 分配范围内的地址。",
    ),
    applies: is_static,
    asked: always,
    default: default::address,
};

pub(crate) static GATEWAY: Question = Question {
    id: Id::UplinkGateway,
    key: "uplink.gateway",
    kind: Kind::Neighbour(Id::UplinkAddress),
    title: Text::new("Gateway of the site's network", "站點網路的閘道", "站点网络的网关"),
    help: Text::new(
        "The router that leads out of that network, most often its first or last address.",
        "通往外部的路由器，通常是該網路的第一個或最後一個位址。",
        "通往外部的路由器，通常是该网络的第一个或最后一个地址。",
    ),
    applies: is_static,
    asked: always,
    default: default::gateway,
};
