//! `rackwright doctor`: what was looked at, and every machine whose network boot went wrong; the worst first.

use fleet::view::{BootRow, CheckRow, DoctorView};

use crate::boot::{add_finding, paragraph};
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::show::Page;
use crate::terminal::{Look, Tone};
use crate::text::ago;

pub(crate) async fn doctor(session: &mut Session) -> Result<u8, Failure> {
    let answer = session.client.get("/v1/doctor?area=pxe").await?;
    let view = answer.item::<DoctorView>()?;
    let now = session.now();
    session.show(&answer, |_, look| Ok(render_doctor(&view, look, now)))?;
    Ok(if view.health == "fail" { exit::UNHEALTHY } else { exit::OK })
}

/// Everything that was looked at.
pub(crate) fn render_doctor(view: &DoctorView, look: &Look, now: u64) -> String {
    let mut page = Page::default();
    for check in &view.checks {
        add_check(&mut page, check, look);
    }
    page.heading("Network boots");
    if view.cards.is_empty() {
        page.line("  nothing looks wrong");
    }
    for card in &view.cards {
        add_card(&mut page, card, look, now);
    }
    let worst = view.cards.first();
    page.next(worst.map(|card| {
        let name = card.node.as_ref().unwrap_or(&card.mac);
        format!("step by step: rackwright node why {name}")
    }));
    page.into_text()
}

fn add_check(page: &mut Page, check: &CheckRow, look: &Look) {
    let word = format!("[{}]", check.result);
    let label = format!("{word:<7} {:<14} ", check.check);
    let mut inner = Page::default();
    paragraph(&mut inner, &label, &check.what, look);
    if let Some(fix) = &check.fix {
        paragraph(&mut inner, "        fix: ", fix, look);
    }
    let text = inner.into_text();
    let painted = if look.colour {
        text.replacen(&check.result, &Tone::of(&check.result).paint(&check.result), 1)
    } else {
        text
    };
    page.line(painted.trim_end());
}

fn add_card(page: &mut Page, card: &BootRow, look: &Look, now: u64) {
    let name = card.node.as_deref().unwrap_or("no node yet");
    let heard = ago(&card.heard, now);
    page.line("");
    page.line(&format!("{}  {name}, came to {}, heard {heard} ago", card.mac, card.reached));
    for finding in &card.findings {
        add_finding(page, finding, look);
    }
}
