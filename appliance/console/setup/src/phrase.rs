//! What front-ends say beside questions and problems.

use crate::language::Text;

/// Where one is on the way.
pub const QUESTION: Text =
    Text::new("Question {value} of {other}", "問題 {value}／{other}", "问题 {value}／{other}");
/// What an empty line answers.
pub const PROPOSED: Text = Text::new("Enter: {value}", "按 Enter：{value}", "按 Enter：{value}");
/// What can be typed at a question.
pub const KEYS: Text = Text::new(
    "?: help   <: back   Ctrl-D: leave",
    "?：說明   <：上一題   Ctrl-D：離開",
    "?：说明   <：上一题   Ctrl-D：离开",
);
/// What can be typed at a question with a list.
pub const CHOOSE: Text = Text::new("Type a number or a word.", "請輸入號碼或名稱。", "请输入号码或名称。");
/// Above the review.
pub const REVIEW: Text = Text::new(
    "Review. Nothing has been written yet.",
    "總覽。目前尚未寫入任何東西。",
    "总览。目前尚未写入任何内容。",
);
/// Below the review.
pub const REVIEW_KEYS: Text = Text::new(
    "A number changes that answer. apply writes everything. r looks at the machine again. <: back   q: leave",
    "輸入號碼可修改該項。apply 寫入全部。r 重新檢查這台機器。<：上一題   q：離開",
    "输入号码可修改该项。apply 写入全部。r 重新检查这台机器。<：上一题   q：离开",
);
/// Help at the review.
pub const REVIEW_HELP: Text = Text::new(
    "With apply this machine becomes the controller: its configuration and the settings of its cards are written, each file \
     whole or not at all. Before that nothing is changed, and leaving loses no answer: rackwright setup goes on here.",
    "輸入 apply 後，這台機器就成為控制器：寫入設定檔與網卡設定，每個檔案都是完整寫入或完全不寫入。在此之前不會改變任何東西；離開也不會\
     遺失答案，再執行 rackwright setup 即可繼續。",
    "输入 apply 后，这台机器就成为控制器：写入配置文件与网卡设置，每个文件都是完整写入或完全不写入。在此之前不会改变任何内容；离开也不会\
     丢失答案，再执行 rackwright setup 即可继续。",
);
/// A line that means nothing at the review.
pub const NOT_UNDERSTOOD: Text =
    Text::new("Not understood: {value}", "無法理解：{value}", "无法理解：{value}");
/// While it is written.
pub const WRITING: Text = Text::new("Writing ...", "正在寫入", "正在写入");
/// When somebody left.
pub const LEFT: Text = Text::new(
    "Nothing was written. rackwright setup goes on where this ended.",
    "沒有寫入任何東西。再執行 rackwright setup 會從這裡繼續。",
    "没有写入任何内容。再执行 rackwright setup 会从这里继续。",
);
/// When it is written.
pub const WRITTEN: Text = Text::new(
    "Done: this machine is the controller of {value}.",
    "完成：這台機器是 {value} 的控制器。",
    "完成：这台机器是 {value} 的控制器。",
);
/// Above the commands that come next.
pub const NEXT: Text = Text::new(
    "Next: start it, power the servers on to boot from the network, and let them in:",
    "接下來：啟動控制器，讓伺服器從網路開機，再核准它們加入：",
    "接下来：启动控制器，让服务器从网络启动，再批准它们加入：",
);
/// A problem that stops set-up.
pub const ERROR: Text = Text::new("error", "錯誤", "错误");
/// One that does not.
pub const WARNING: Text = Text::new("warning", "注意", "注意");
/// A line of the answers file.
pub const LINE: Text = Text::new("line {value}", "第 {value} 行", "第 {value} 行");
/// Before the reason.
pub const WHY: Text = Text::new("why: ", "原因：", "原因：");
/// Before the cure.
pub const FIX: Text = Text::new("fix: ", "處理：", "处理：");
/// A card with a cable.
pub const LINK: Text = Text::new("link", "已連線", "已连接");
/// A card without.
pub const NO_LINK: Text = Text::new("no link", "未連線", "未连接");
/// A card's way out.
pub const GATEWAY: Text = Text::new("gateway {value}", "閘道 {value}", "网关 {value}");
/// A DHCP server on a card's network.
pub const DHCP_SEEN: Text = Text::new("DHCP by {value}", "DHCP 來自 {value}", "DHCP 来自 {value}");
/// Where there is no such card.
pub const NO_CARD: Text = Text::new("no cable to it", "沒有這條線", "没有这条线");
/// While cards are switched on and listened to.
pub const LOOKING: Text = Text::new(
    "Looking at the machine and its networks; this takes some seconds.",
    "正在檢查這台機器與它的網路，需要幾秒鐘。",
    "正在检查这台机器与它的网络，需要几秒钟。",
);
/// When a set-up goes on.
pub const RESUMED: Text = Text::new(
    "Going on where set-up ended; --restart begins anew.",
    "從上次結束的地方繼續；加上 --restart 可重新開始。",
    "从上次结束的地方继续；加上 --restart 可重新开始。",
);
/// A file that was there and is kept.
pub const KEPT: Text = Text::new("kept: {value}", "已保留：{value}", "已保留：{value}");
/// A file that was written.
pub const FILE: Text = Text::new("written: {value}", "已寫入：{value}", "已写入：{value}");
/// An answers file without a stop.
pub const FILE_GOOD: Text = Text::new(
    "{value} can be used. Cards and networks are looked at when it is.",
    "{value} 可以使用。使用時才會檢查網卡與網路。",
    "{value} 可以使用。使用时才会检查网卡与网络。",
);

/// When answers cannot be kept while they are given.
pub const NOT_KEPT: Text = Text::new(
    "Answers are not kept while set-up goes on ({value}): if it ends early it begins anew.",
    "無法在過程中保留答案（{value}）：中途結束就要重新開始。",
    "无法在过程中保留答案（{value}）：中途结束就要重新开始。",
);
/// When nobody can be asked.
pub const NOBODY: Text = Text::new(
    "Nobody can be asked here: give an answers file (--answers FILE), or say --plain.",
    "這裡無法互動提問：請提供答案檔案（--answers FILE），或加上 --plain。",
    "这里无法互动提问：请提供答案文件（--answers FILE），或加上 --plain。",
);

/// What stands for what in an explanation.
pub const STANDS: Text = Text::new(
    "KEY is the question, VALUE what was answered or found, OTHER what it is at odds with.",
    "KEY 是問題，VALUE 是回答或偵測到的值，OTHER 是與它衝突的值。",
    "KEY 是问题，VALUE 是回答或检测到的值，OTHER 是与它冲突的值。",
);
/// A code that there is not.
pub const NO_CODE: Text = Text::new(
    "there is no code {value}; rackwright explain lists all",
    "沒有代碼 {value}；rackwright explain 會列出全部",
    "没有代码 {value}；rackwright explain 会列出全部",
);

/// All of them.
pub const ALL: &[Text] = &[
    QUESTION,
    PROPOSED,
    KEYS,
    CHOOSE,
    REVIEW,
    REVIEW_KEYS,
    REVIEW_HELP,
    NOT_UNDERSTOOD,
    WRITING,
    LEFT,
    WRITTEN,
    NEXT,
    ERROR,
    WARNING,
    LINE,
    WHY,
    FIX,
    LINK,
    NO_LINK,
    GATEWAY,
    DHCP_SEEN,
    NO_CARD,
    LOOKING,
    RESUMED,
    KEPT,
    FILE,
    FILE_GOOD,
    NOT_KEPT,
    NOBODY,
    STANDS,
    NO_CODE,
];
