//! The networks of the cloud itself, and its time.

use super::{always, never};
use crate::answers::{Context, NONE};
use crate::default;
use crate::language::Text;
use crate::question::{Id, Kind, Question};
use crate::topology::{Topology, topology};

fn has(context: &Context<'_>, what: impl Fn(&Topology) -> bool) -> bool {
    context.value(Id::Topology).and_then(|word| topology(&word)).is_some_and(what)
}

pub(crate) static TUNNEL_NETWORK: Question = Question {
    id: Id::TunnelNetwork,
    key: "tunnel.network",
    kind: Kind::Network,
    title: Text::new(
        "Network for traffic between instances",
        "虛擬機器之間的通道網路",
        "虚拟机之间的隧道网络",
    ),
    help: Text::new(
        "Only nodes have addresses in it, and it leads nowhere else. It must be large enough for all of them.",
        "只有節點在這裡有位址，也不通往其他地方。大小必須足夠所有節點使用。",
        "只有节点在这里有地址，也不通往其他地方。大小必须足够所有节点使用。",
    ),
    applies: |context| has(context, |topology| topology.tunnel),
    asked: always,
    default: |_| "10.20.20.0/24".to_owned(),
};

pub(crate) static TUNNEL_VLAN: Question = Question {
    id: Id::TunnelVlan,
    key: "tunnel.vlan",
    kind: Kind::Vlan { optional: false },
    title: Text::new("VLAN of the network between instances", "通道網路的 VLAN", "隧道网络的 VLAN"),
    help: Text::new(
        "In this topology it shares a card with another network, so the switch must carry it tagged to every node.",
        "這種接線方式與另一個網路共用網卡，因此交換器必須以標記方式把它送到每個節點。",
        "这种接线方式与另一个网络共用网卡，因此交换机必须以标记方式把它送到每个节点。",
    ),
    applies: |context| has(context, |topology| topology.shared),
    asked: never,
    default: |_| "20".to_owned(),
};

pub(crate) static EXTERNAL_NETWORK: Question = Question {
    id: Id::ExternalNetwork,
    key: "external.network",
    kind: Kind::Network,
    title: Text::new("External network of the cloud", "雲端的外部網路", "云的外部网络"),
    help: Text::new(
        "The network from which instances are reached, most often the site's own.",
        "使用者由這個網路連到虛擬機器，通常就是站點自己的網路。",
        "用户由这个网络连到虚拟机，通常就是站点自己的网络。",
    ),
    applies: always,
    asked: always,
    default: default::external,
};

pub(crate) static EXTERNAL_POOL: Question = Question {
    id: Id::ExternalPool,
    key: "external.pool",
    kind: Kind::Pool(Id::ExternalNetwork),
    title: Text::new(
        "External addresses that the cloud may use",
        "外部網路中可供雲端使用的位址範圍",
        "外部网络中可供云使用的地址范围",
    ),
    help: Text::new(
        "First and last address, with a hyphen between. Ask whoever looks after that network: nobody else may use them, and \
         its DHCP must not give them away.",
        "第一個與最後一個位址，中間用連字號。請先詢問該網路的管理員：別人不可使用這些位址，該網路的 DHCP 也不可發放。",
        "第一个与最后一个地址，中间用连字符。请先询问该网络的管理员：别人不可使用这些地址，该网络的 DHCP 也不可分配。",
    ),
    applies: always,
    asked: always,
    default: default::floating,
};

pub(crate) static TIME_SERVERS: Question = Question {
    id: Id::TimeServers,
    key: "time.servers",
    kind: Kind::Addresses,
    title: Text::new("Time servers", "時間伺服器", "时间服务器"),
    help: Text::new(
        "Addresses of NTP servers that this machine reaches, with commas between. none: the rack keeps this machine's time, \
         all servers together.",
        "這台機器連得到的 NTP 伺服器位址，以逗號分隔。none：整個機櫃以這台機器的時間為準。",
        "这台机器连得到的 NTP 服务器地址，以逗号分隔。none：整个机柜以这台机器的时间为准。",
    ),
    applies: always,
    asked: never,
    default: |_| NONE.to_owned(),
};
