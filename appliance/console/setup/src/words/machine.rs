//! What is wrong with the machine or its networks.

use super::Words;
use crate::language::Text;
use crate::problem::Severity;

pub(super) static INTERFACE_MISSING: Words = Words {
    number: "RK-SET-0501",
    severity: Severity::Stop,
    what: Text::new(
        "{key}: this machine has no card {value}",
        "{key}：這台機器沒有網卡 {value}",
        "{key}：这台机器没有网卡 {value}",
    ),
    why: Text::new("It has: {other}.", "現有網卡：{other}。", "现有网卡：{other}。"),
    fix: Text::new(
        "Give one of these; a card that is not listed needs a driver or another slot.",
        "請選其中一張；沒有列出的網卡需要驅動程式或換插槽。",
        "请选其中一张；没有列出的网卡需要驱动程序或换插槽。",
    ),
};

pub(super) static NO_CARDS: Words = Words {
    number: "RK-SET-0502",
    severity: Severity::Stop,
    what: Text::new("this machine has no network card", "這台機器沒有網卡", "这台机器没有网卡"),
    why: Text::new(
        "Servers boot over the network from it.",
        "伺服器要透過網路從它開機。",
        "服务器要通过网络从它启动。",
    ),
    fix: Text::new(
        "Put one in, or give the kernel a driver for the one there is.",
        "請安裝網卡，或為現有網卡提供驅動程式。",
        "请安装网卡，或为现有网卡提供驱动程序。",
    ),
};

pub(super) static NO_LINK: Words = Words {
    number: "RK-SET-0503",
    severity: Severity::Warning,
    what: Text::new("{value} has no link", "{value} 沒有連線訊號", "{value} 没有连接信号"),
    why: Text::new(
        "No cable is in, or the switch is off: nobody is reached there.",
        "沒有插線，或交換器未開機：那裡連不到任何機器。",
        "没有插线，或交换机未开机：那里连不到任何机器。",
    ),
    fix: Text::new(
        "Look at cable, port and switch; or take the card whose lamp is on.",
        "請檢查線、連接埠與交換器；或選燈號亮著的網卡。",
        "请检查线、端口与交换机；或选指示灯亮着的网卡。",
    ),
};

pub(super) static DISK_SMALL: Words = Words {
    number: "RK-SET-0504",
    severity: Severity::Stop,
    what: Text::new(
        "the disk has {value} left, less than the controller needs",
        "硬碟只剩 {value}，不足以安裝控制器",
        "硬盘只剩 {value}，不足以安装控制器",
    ),
    why: Text::new(
        "Its state and its journal need 512 MB at the least.",
        "狀態與日誌至少需要 512 MB。",
        "状态与日志至少需要 512 MB。",
    ),
    fix: Text::new(
        "Free some, or mount a larger disk at /var/lib/rackwright.",
        "請清出空間，或把較大的硬碟掛載到 /var/lib/rackwright。",
        "请清出空间，或把较大的硬盘挂载到 /var/lib/rackwright。",
    ),
};

pub(super) static DISK_TIGHT: Words = Words {
    number: "RK-SET-0505",
    severity: Severity::Warning,
    what: Text::new("the disk has {value} left", "硬碟剩下 {value}", "硬盘剩下 {value}"),
    why: Text::new(
        "Images of servers take 40 GB soon.",
        "伺服器的映像檔很快就會用到 40 GB。",
        "服务器的镜像很快就会用到 40 GB。",
    ),
    fix: Text::new(
        "Enough to try it; mount a larger disk at /var/lib/rackwright for more.",
        "足夠試用；要更多空間，請把較大的硬碟掛載到 /var/lib/rackwright。",
        "足够试用；要更多空间，请把较大的硬盘挂载到 /var/lib/rackwright。",
    ),
};

pub(super) static MEMORY_LOW: Words = Words {
    number: "RK-SET-0506",
    severity: Severity::Warning,
    what: Text::new(
        "this machine has {value} of memory",
        "這台機器的記憶體有 {value}",
        "这台机器的内存有 {value}",
    ),
    why: Text::new(
        "The controller needs 1.5 GB, more with many servers.",
        "控制器需要 1.5 GB，伺服器多則更多。",
        "控制器需要 1.5 GB，服务器多则更多。",
    ),
    fix: Text::new(
        "Enough to try it; add memory for a whole rack.",
        "足夠試用；整個機櫃請增加記憶體。",
        "足够试用；整个机柜请增加内存。",
    ),
};

pub(super) static GATEWAY_DEAD: Words = Words {
    number: "RK-SET-0507",
    severity: Severity::Warning,
    what: Text::new(
        "the gateway {other} does not answer on {value}",
        "{value} 上的閘道 {other} 沒有回應",
        "{value} 上的网关 {other} 没有回应",
    ),
    why: Text::new(
        "Nothing outside the site's network is reached without it.",
        "沒有它就連不到站點網路以外的地方。",
        "没有它就连不到站点网络以外的地方。",
    ),
    fix: Text::new(
        "See whether it is switched on, and whether the address and the cable are right.",
        "請檢查它是否開機、位址與接線是否正確。",
        "请检查它是否开机、地址与接线是否正确。",
    ),
};

pub(super) static FOREIGN_DHCP: Words = Words {
    number: "RK-SET-0508",
    severity: Severity::Stop,
    what: Text::new(
        "another DHCP server answers on {value}: {other}",
        "{value} 上有另一台 DHCP 伺服器：{other}",
        "{value} 上有另一台 DHCP 服务器：{other}",
    ),
    why: Text::new(
        "Servers may boot from the wrong machine, and other machines may get our addresses.",
        "伺服器可能從錯誤的機器開機，其他機器也可能取得我們的位址。",
        "服务器可能从错误的机器启动，其他机器也可能取得我们的地址。",
    ),
    fix: Text::new(
        "Unplug it, or move the cable to a switch of its own, and look again; or answer proxy, with an address of this machine in its network.",
        "請拔掉它，或把線移到獨立的交換器，再檢查一次；或選 proxy，並給這台機器一個該網路的位址。",
        "请拔掉它，或把线移到独立的交换机，再检查一次；或选 proxy，并给这台机器一个该网络的地址。",
    ),
};

pub(super) static CLOCK_WRONG: Words = Words {
    number: "RK-SET-0509",
    severity: Severity::Stop,
    what: Text::new(
        "the clock says that it is the year {value}",
        "系統時鐘顯示現在是 {value} 年",
        "系统时钟显示现在是 {value} 年",
    ),
    why: Text::new(
        "Certificates are made for years that are over, or not begun.",
        "憑證的有效期會落在過去或未來。",
        "证书的有效期会落在过去或未来。",
    ),
    fix: Text::new(
        "Set it, for example date -s 2026-11-30T08:00Z, and look again; then change the battery.",
        "請校正時鐘，例如 date -s 2026-11-30T08:00Z，再檢查一次；之後更換電池。",
        "请校正时钟，例如 date -s 2026-11-30T08:00Z，再检查一次；之后更换电池。",
    ),
};
