//! Everything that people read: there in three languages, and fit for every terminal.

use setup::{
    Code, Kind, Language, Message, QUESTIONS, Session, TOPOLOGIES, Text, phrase, plain, update, width, wrap,
};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::machines::{begun, broken, crowded, one, two};

fn every() -> Vec<(String, Text)> {
    let mut all = Vec::new();
    for question in QUESTIONS {
        all.push((format!("{} title", question.key), question.title));
        all.push((format!("{} help", question.key), question.help));
        if let Kind::Choice(choices) = question.kind {
            let titles =
                choices.iter().map(|choice| (format!("{} {}", question.key, choice.word), choice.title));
            all.extend(titles);
        }
    }
    all.extend(phrase::ALL.iter().map(|text| (text.of(Language::English).to_owned(), *text)));
    all.extend(Code::ALL.iter().flat_map(|code| {
        let [what, why, fix] = code.texts();
        [("what", what), ("why", why), ("fix", fix)].map(|(name, text)| (format!("{code:?} {name}"), text))
    }));
    all
}

/// A character that is as wide on every terminal: ASCII, or wide whatever is believed of ambiguous ones.
fn is_safe(c: char) -> bool {
    c.is_ascii_graphic() || c == ' ' || (c.width() == Some(2) && c.width_cjk() == Some(2))
}

#[test]
fn every_text_is_there_in_three_languages() {
    for (name, text) in every() {
        let [en, tw, cn] = Language::ALL.map(|language| text.of(language));
        for said in [en, tw, cn] {
            assert!(
                !said.trim().is_empty() && said.trim_end() == said || said.ends_with(": "),
                "{name}: {said:?}"
            );
            assert!(said.chars().all(is_safe), "{name}: {said:?}");
            assert!(
                !said.contains("  ") || name.contains("Ctrl-D") || name.contains("apply"),
                "{name}: {said:?}"
            );
        }
        // The same in all is what has no language: names of languages.
        let is_han = |said: &str| said.chars().any(|c| c.width() == Some(2));
        assert!(en == tw && tw == cn || (is_han(tw) && is_han(cn) && !is_han(en)), "{name}");
        let placeholders = |said: &str| {
            let mut found: Vec<String> =
                said.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0.to_owned())).collect();
            found.sort();
            found
        };
        assert_eq!(placeholders(en), placeholders(tw), "{name}");
        assert_eq!(placeholders(en), placeholders(cn), "{name}");
    }
}

/// Simplified text with traditional characters, or the other way round, was not translated. The words of either place, too.
#[test]
fn neither_chinese_is_the_other() {
    const TRADITIONAL: &str = "網設機儲節點檔這個們會範圍頁開關單進連線實體與從數據應據閘韌徑標記憶";
    const SIMPLIFIED: &str = "网设机储节点档这个们会范围页开关单进连线实体与从数据应据闸韧径标记忆";
    for (name, text) in every().into_iter().filter(|(name, _)| !name.starts_with("language")) {
        let (tw, cn) = (text.of(Language::Traditional), text.of(Language::Simplified));
        for (old, new) in TRADITIONAL.chars().zip(SIMPLIFIED.chars()).filter(|(old, new)| old != new) {
            assert!(!cn.contains(old), "{name}: {old} in {cn}");
            assert!(!tw.contains(new), "{name}: {new} in {tw}");
        }
        for (taiwan, mainland) in [
            ("伺服器", "服务器"),
            ("網路", "网络"),
            ("硬碟", "硬盘"),
            ("記憶體", "内存"),
            ("位址", "地址"),
            ("預設", "默认"),
            ("叢集", "集群"),
        ] {
            assert_eq!(tw.contains(taiwan), cn.contains(mainland), "{name}: {taiwan} {mainland}");
        }
    }
}

#[test]
fn titles_and_choices_fit_a_line_of_eighty() {
    for question in QUESTIONS {
        for language in Language::ALL {
            assert!(width(question.title.of(language)) <= 66, "{}", question.key);
        }
        if let Kind::Choice(choices) = question.kind {
            for choice in choices {
                let line = |language| format!("  9) {}: {}", choice.word, choice.title.of(language));
                assert!(
                    Language::ALL.iter().all(|language| width(&line(*language)) <= 80),
                    "{}",
                    choice.word
                );
            }
        }
    }
    for topology in TOPOLOGIES {
        let picture = topology.choice.picture;
        assert!(!picture.is_empty() && picture.lines().all(|line| line.is_ascii() && line.len() <= 80));
        // Whoever edits one with an indent that Rust takes away sees it here: the first line begins where others do.
        assert!(picture.starts_with("site network  ----+") && picture.contains("\nmanagement    ----+"));
        assert!(!topology.roles.is_empty());
    }
}

/// Every screen of a whole set-up, in one language at one width.
fn screens(mut session: Session, language: Language, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |session: &mut Session, message| {
        update(session, message);
        lines.extend(plain::show(session, columns));
        lines.extend(plain::explain(session, columns));
    };
    say(&mut session, Message::Answer(language.tag().to_owned()));
    for text in ["lab", "full-1", "", "static", "192.168.7.9/24"].into_iter().chain([""; 12]) {
        say(&mut session, Message::Answer(text.to_owned()));
    }
    say(&mut session, Message::Confirm);
    say(&mut session, Message::Written);
    lines
}

#[test]
fn every_screen_fits_eighty_columns_and_no_size_is_too_small() {
    for facts in [one(), two(), crowded(), broken()] {
        for language in Language::ALL {
            for columns in [80, 40, 10, 1, 0] {
                for line in screens(begun(facts.clone()), language, columns) {
                    assert!(width(&line) <= columns.max(2), "{columns}: {line:?}");
                    assert_eq!(line.width(), line.width_cjk(), "{line:?}");
                }
            }
        }
    }
}

#[test]
fn every_problem_fits_and_has_a_number_of_its_own() {
    let mut numbers = std::collections::BTreeSet::new();
    for code in Code::ALL {
        let hostile = "\u{1b}[2J很\u{202e}".repeat(40);
        let problem = setup::Problem::new(code, Some(setup::Id::ManagementAddress), &hostile, &hostile).at(7);
        for language in Language::ALL {
            let lines = plain::complain(std::slice::from_ref(&problem), language, 80);
            assert!(lines.len() >= 3 && lines.iter().all(|line| width(line) <= 80), "{code:?}");
            assert!(lines.iter().all(|line| line.chars().all(is_safe)), "{code:?}: {lines:?}");
        }
        let number = problem.report(Language::English).number;
        assert!(number.starts_with("RK-SET-") && numbers.insert(number), "{number}");
    }
}

#[test]
fn chinese_is_broken_between_characters_and_not_before_closing_ones() {
    assert_eq!(
        wrap("節點是透過管理網路，從這台機器開機。", 0, 20),
        ["節點是透過管理網路，", "從這台機器開機。"]
    );
    assert_eq!(
        wrap("節點是透過管理網路，從這台機器開機。", 0, 18),
        ["節點是透過管理網", "路，從這台機器開", "機。"]
    );
    assert_eq!(wrap("one two  three", 2, 12), ["  one two", "  three"]);
    assert_eq!(wrap("averyveryverylongword x", 0, 10), ["averyveryv", "erylongwor", "d x"]);
    assert_eq!(wrap("", 0, 10), [] as [&str; 0]);
}

#[test]
fn locales_are_languages() {
    for (name, language) in [
        ("zh_TW.UTF-8", Some(Language::Traditional)),
        ("zh-HK", Some(Language::Traditional)),
        ("zh_MO", Some(Language::Traditional)),
        ("zh_SG.UTF-8", Some(Language::Simplified)),
        ("zh-CN", Some(Language::Simplified)),
        ("en_GB.UTF-8", Some(Language::English)),
        ("C.UTF-8", Some(Language::English)),
        ("de_DE", None),
        ("", None),
    ] {
        assert_eq!(Language::of(name), language, "{name}");
    }
    let text = Text::same("{value} and {other} {value} {none} {");
    let values = [("value", "{other}"), ("other", "x")];
    assert_eq!(text.filled(Language::English, &values), "{other} and x {other} {none} {");
}
