//! The words for everything that can be wrong.

mod answer;
mod answers_file;
mod machine;
mod network;
mod range;

use crate::language::Text;
use crate::problem::{Code, Severity};

/// What is said of a problem. `{key}` is the question's, `{value}` what was answered or found, `{other}` what it is at odds
/// with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    pub(crate) number: &'static str,
    pub(crate) severity: Severity,
    pub(crate) what: Text,
    pub(crate) why: Text,
    pub(crate) fix: Text,
}

pub(crate) fn words(code: Code) -> &'static Words {
    match code {
        Code::Needed => &answer::NEEDED,
        Code::Unprintable => &answer::UNPRINTABLE,
        Code::NotAChoice => &answer::NOT_A_CHOICE,
        Code::BadSite => &answer::BAD_SITE,
        Code::BadInterface => &answer::BAD_INTERFACE,
        Code::SameInterface => &answer::SAME_INTERFACE,
        Code::BadVlan => &answer::BAD_VLAN,
        Code::SameVlan => &answer::SAME_VLAN,
        Code::BadAddresses => &answer::BAD_ADDRESSES,
        Code::NoPrefix => &network::NO_PREFIX,
        Code::BadPrefix => &network::BAD_PREFIX,
        Code::NobodysAddress => &network::NOBODYS_ADDRESS,
        Code::Nowhere => &network::NOWHERE,
        Code::NotANetwork => &network::NOT_A_NETWORK,
        Code::Overlap => &network::OVERLAP,
        Code::NoAddress => &network::NO_ADDRESS,
        Code::OutsideAddress => &network::OUTSIDE_ADDRESS,
        Code::OwnAddress => &network::OWN_ADDRESS,
        Code::NoRange => &range::NO_RANGE,
        Code::Backwards => &range::BACKWARDS,
        Code::OutsideRange => &range::OUTSIDE_RANGE,
        Code::WholeNetwork => &range::WHOLE_NETWORK,
        Code::TakenInRange => &range::TAKEN_IN_RANGE,
        Code::NotToml => &answers_file::NOT_TOML,
        Code::UnknownKey => &answers_file::UNKNOWN_KEY,
        Code::MisspeltKey => &answers_file::MISSPELT_KEY,
        Code::WrongType => &answers_file::WRONG_TYPE,
        Code::TooLarge => &answers_file::TOO_LARGE,
        Code::Unused => &answers_file::UNUSED,
        Code::Configured => &answers_file::CONFIGURED,
        Code::NotWritten => &answers_file::NOT_WRITTEN,
        Code::InterfaceMissing => &machine::INTERFACE_MISSING,
        Code::NoCards => &machine::NO_CARDS,
        Code::NoLink => &machine::NO_LINK,
        Code::DiskSmall => &machine::DISK_SMALL,
        Code::DiskTight => &machine::DISK_TIGHT,
        Code::MemoryLow => &machine::MEMORY_LOW,
        Code::GatewayDead => &machine::GATEWAY_DEAD,
        Code::ForeignDhcp => &machine::FOREIGN_DHCP,
        Code::ClockWrong => &machine::CLOCK_WRONG,
    }
}

impl Code {
    /// What is said of it, why it matters, and what to do.
    #[must_use]
    pub fn texts(self) -> [Text; 3] {
        let words = words(self);
        [words.what, words.why, words.fix]
    }

    /// Everything that can be wrong.
    pub const ALL: [Code; 40] = [
        Code::Needed,
        Code::Unprintable,
        Code::NotAChoice,
        Code::BadSite,
        Code::BadInterface,
        Code::SameInterface,
        Code::BadVlan,
        Code::SameVlan,
        Code::BadAddresses,
        Code::NoPrefix,
        Code::BadPrefix,
        Code::NobodysAddress,
        Code::Nowhere,
        Code::NotANetwork,
        Code::Overlap,
        Code::NoAddress,
        Code::OutsideAddress,
        Code::OwnAddress,
        Code::NoRange,
        Code::Backwards,
        Code::OutsideRange,
        Code::WholeNetwork,
        Code::TakenInRange,
        Code::NotToml,
        Code::UnknownKey,
        Code::MisspeltKey,
        Code::WrongType,
        Code::TooLarge,
        Code::Unused,
        Code::Configured,
        Code::NotWritten,
        Code::InterfaceMissing,
        Code::NoCards,
        Code::NoLink,
        Code::DiskSmall,
        Code::DiskTight,
        Code::MemoryLow,
        Code::GatewayDead,
        Code::ForeignDhcp,
        Code::ClockWrong,
    ];
}
