//! The network that servers boot from and are looked after over.

use super::{always, never};
use crate::answers::{Context, NONE};
use crate::default;
use crate::language::Text;
use crate::question::{Choice, Id, Kind, Question};

pub(crate) const FULL: &str = "full";
pub(crate) const KNOWN: &str = "known";
pub(crate) const PROXY: &str = "proxy";

/// Another DHCP server answered where servers shall boot.
fn is_crowded(context: &Context<'_>) -> bool {
    crate::findings::foreign(context).is_some()
}

fn gives_addresses(context: &Context<'_>) -> bool {
    !context.is(Id::ManagementDhcp, PROXY)
}

pub(crate) static VLAN: Question = Question {
    id: Id::ManagementVlan,
    key: "management.vlan",
    kind: Kind::Vlan { optional: true },
    title: Text::new("VLAN of the management network", "管理網路的 VLAN", "管理网络的 VLAN"),
    help: Text::new(
        "1 to 4094 when this machine's switch port brings the management network tagged; none when it has a port of its \
         own. The ports of servers must bring it untagged: firmware boots without tags.",
        "若這台機器的交換器連接埠以標記方式送來管理網路，填 1 到 4094；有自己的連接埠則填 none。伺服器的連接埠必須不帶標記：\
         韌體開機時不使用標記。",
        "若这台机器的交换机端口以标记方式送来管理网络，填 1 到 4094；有自己的端口则填 none。服务器的端口必须不带标记：\
         固件启动时不使用标记。",
    ),
    applies: always,
    asked: never,
    default: |_| NONE.to_owned(),
};

pub(crate) static INTERFACE: Question = Question {
    id: Id::ManagementInterface,
    key: "management.interface",
    kind: Kind::Interface { optional: false },
    title: Text::new("Card to the servers", "連到伺服器的網卡", "连到服务器的网卡"),
    help: Text::new(
        "Servers boot over this network, and every one that asks there is answered: give it a switch, or a VLAN, of its own.",
        "伺服器由這個網路開機，凡在此網路上詢問的機器都會得到回應：請給它獨立的交換器或 VLAN。",
        "服务器由这个网络启动，凡在此网络上询问的机器都会得到回应：请给它独立的交换机或 VLAN。",
    ),
    applies: always,
    asked: always,
    default: default::management,
};

pub(crate) static ADDRESS: Question = Question {
    id: Id::ManagementAddress,
    key: "management.address",
    kind: Kind::Host,
    title: Text::new(
        "Address of this machine on the management network, with prefix",
        "這台機器在管理網路的位址與前綴長度",
        "这台机器在管理网络的地址与前缀长度",
    ),
    help: Text::new(
        "The prefix says how large the network is: /24 has room for some 250 servers. It must be a network that is used \
         nowhere else at the site.",
        "前綴長度決定網路大小：/24 約可容納 250 台伺服器。站點其他地方不可使用這個網路。",
        "前缀长度决定网络大小：/24 约可容纳 250 台服务器。站点其他地方不可使用这个网络。",
    ),
    applies: always,
    asked: always,
    default: |_| "10.10.10.1/24".to_owned(),
};

pub(crate) static DHCP: Question = Question {
    id: Id::ManagementDhcp,
    key: "management.dhcp",
    kind: Kind::Choice(&[
        Choice::new(
            FULL,
            Text::new(
                "every server that asks gets an address",
                "回應所有詢問的伺服器",
                "回应所有询问的服务器",
            ),
        ),
        Choice::new(
            KNOWN,
            Text::new("only servers that were made known", "只回應已登記的伺服器", "只回应已登记的服务器"),
        ),
        Choice::new(
            PROXY,
            Text::new(
                "the site's own DHCP gives addresses",
                "位址由站點自己的 DHCP 發放",
                "地址由站点自己的 DHCP 分配",
            ),
        ),
    ]),
    title: Text::new("DHCP on the management network", "管理網路的 DHCP", "管理网络的 DHCP"),
    help: Text::new(
        "full on a network of its own. known where other machines are on it too. proxy where another DHCP server must stay: \
         it gives addresses, and this machine only says what to boot.",
        "獨立的網路用 full。網路上還有其他機器時用 known。必須保留另一台 DHCP 伺服器時用 proxy：位址由它發放，這台機器只告訴伺服器\
         如何開機。",
        "独立的网络用 full。网络上还有其他机器时用 known。必须保留另一台 DHCP 服务器时用 proxy：地址由它分配，这台机器只告诉服务器\
         如何启动。",
    ),
    applies: always,
    asked: is_crowded,
    default: |_| FULL.to_owned(),
};

pub(crate) static POOL: Question = Question {
    id: Id::ManagementPool,
    key: "management.pool",
    kind: Kind::Pool(Id::ManagementAddress),
    title: Text::new("Addresses for servers", "發給伺服器的位址範圍", "分配给服务器的地址范围"),
    help: Text::new(
        "First and last address, with a hyphen between. A server keeps the address that it was given. It must not hold this \
         machine's own address.",
        "第一個與最後一個位址，中間用連字號。伺服器會一直使用所得到的位址。範圍內不可包含這台機器自己的位址。",
        "第一个与最后一个地址，中间用连字符。服务器会一直使用所得到的地址。范围内不可包含这台机器自己的地址。",
    ),
    applies: gives_addresses,
    asked: always,
    default: default::pool,
};
