//! How servers are cabled and who does what. "The controller" is this machine; nodes are what boots from it.

use crate::language::Text;
use crate::question::Choice;

/// One way to cable a rack.
#[derive(Clone, Copy, Debug)]
pub struct Topology {
    /// Its word, what it is, and how it looks.
    pub choice: Choice,
    /// Whether traffic between instances has a network of its own.
    pub tunnel: bool,
    /// Whether that shares a card with another network, as a VLAN of it.
    pub shared: bool,
    /// The roles of the first nodes, one after the other; all others are the last one.
    pub roles: &'static [&'static str],
}

/// All of them, the simplest first.
pub const TOPOLOGIES: [Topology; 6] = [
    Topology { choice: BASIC, tunnel: false, shared: false, roles: &["control", "compute"] },
    Topology { choice: ADVANCED_1, tunnel: true, shared: true, roles: &["control,network", "compute"] },
    Topology { choice: ADVANCED_2, tunnel: true, shared: false, roles: &["control,network", "compute"] },
    Topology { choice: FULL_1, tunnel: true, shared: true, roles: &["control", "network", "compute"] },
    Topology { choice: FULL_2, tunnel: true, shared: false, roles: &["control", "network", "compute"] },
    Topology {
        choice: ALL_IN_ONE,
        tunnel: false,
        shared: false,
        roles: &["control,network,compute,storage"],
    },
];

pub(crate) const CHOICES: [Choice; 6] = [BASIC, ADVANCED_1, ADVANCED_2, FULL_1, FULL_2, ALL_IN_ONE];

/// The topology of this word.
#[must_use]
pub fn topology(word: &str) -> Option<&'static Topology> {
    TOPOLOGIES.iter().find(|topology| topology.choice.word == word)
}

const BASIC: Choice = Choice {
    word: "basic",
    title: Text::new(
        "one card in each server, no network node",
        "每台伺服器一張網卡，沒有網路節點",
        "每台服务器一张网卡，没有网络节点",
    ),
    picture: "\
site network  ----+---------------------------------
                  |
            [ controller ]
                  |
management    ----+----------+------------+---------
                             |            |
                        [ control ]  [ compute ] ...
",
};

const ADVANCED_1: Choice = Choice {
    word: "advanced-1",
    title: Text::new(
        "two cards in each server, a VLAN switch; control is network too",
        "每台伺服器兩張網卡，VLAN 交換器，控制節點兼網路節點",
        "每台服务器两张网卡，VLAN 交换机，控制节点兼网络节点",
    ),
    picture: "\
site network  ----+
                  |
            [ controller ]
                  |
management    ----+----------+----------------+-------
                             |                |
                    [ control,network ]  [ compute ] ...
                             |                |
VLAN switch   ---------------+----------------+-------
  tunnel (VLAN) and external, on the second card
",
};

const ADVANCED_2: Choice = Choice {
    word: "advanced-2",
    title: Text::new(
        "compute has two cards, control has three and is network too",
        "運算節點兩張網卡，控制節點三張並兼網路節點",
        "计算节点两张网卡，控制节点三张并兼网络节点",
    ),
    picture: "\
site network  ----+----------+------------------------
                  |          |
            [ controller ]   |
                  |          |
management    ----+------+---|----------------+-------
                         |   |                |
                    [ control,network ]  [ compute ] ...
                             |                |
tunnel        ---------------+----------------+-------
",
};

const FULL_1: Choice = Choice {
    word: "full-1",
    title: Text::new(
        "control and network apart, one card in compute",
        "控制節點與網路節點分開，運算節點一張網卡",
        "控制节点与网络节点分开，计算节点一张网卡",
    ),
    picture: "\
site network  ----+----------------------+----------------
                  |                      |
            [ controller ]               |
                  |                      |
management    ----+-------+--------------+--------+-------
 + tunnel (VLAN)          |              |        |
                     [ control ]  [ network ]  [ compute ] ...
",
};

const FULL_2: Choice = Choice {
    word: "full-2",
    title: Text::new(
        "control and network apart, network has three cards, others two",
        "控制節點與網路節點分開，網路節點三張網卡，其他兩張",
        "控制节点与网络节点分开，网络节点三张网卡，其他两张",
    ),
    picture: "\
site network  ----+---------------------+-----------------
                  |                     |
            [ controller ]              |
                  |                     |
management    ----+-------+-----------+-|---------+-------
                          |           | |         |
                     [ control ]  [ network ]  [ compute ] ...
                          |             |         |
tunnel        ------------+-------------+---------+-------
",
};

const ALL_IN_ONE: Choice = Choice {
    word: "all-in-one",
    title: Text::new(
        "one server is everything: to try it",
        "一台伺服器身兼所有角色，適合試用",
        "一台服务器身兼所有角色，适合试用",
    ),
    picture: "\
site network  ----+---------------------------------
                  |
            [ controller ]
                  |
management    ----+----------+----------------------
                             |
         [ control, network, compute and storage ]
",
};
