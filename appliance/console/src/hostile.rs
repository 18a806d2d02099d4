//! Strings as a hostile server would send them: every renderer is fed with each of them.

/// Control characters, escape sequences in both encodings, bidirectional marks, invisible characters, forged lines.
pub(crate) const HOSTILE: &[&str] = &[
    "\u{1b}[2J\u{1b}[H",
    "\u{1b}]0;title\u{7}",
    "\u{1b}]52;c;cm0gLXJm\u{7}",
    "\u{1b}P+q544e\u{1b}\\",
    "\u{9b}31mred",
    "\u{90}q\u{9c}",
    "n1\r\nn2  active  ok",
    "a\nerror: everything is fine",
    "\u{8}\u{8}\u{8}erased",
    "tab\there",
    "nul\0byte",
    "del\u{7f}ete",
    "\u{202e}cod.exe",
    "\u{2066}isolated\u{2069}",
    "\u{200f}\u{61c}right",
    "zero\u{200b}width\u{200d}joined\u{feff}",
    "line\u{2028}para\u{2029}graph",
    "tag\u{e0041}\u{e007f}",
    "soft\u{ad}hyphen",
    "filler\u{3164}\u{ffa0}",
    "annotated\u{fff9}\u{fffb}",
];
