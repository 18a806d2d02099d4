//! Two plots for the docs, as SVG: time over the number of receivers, and over loss.

use std::fmt::Write as _;

use super::report::Measured;
use super::run::PATIENCE;
use super::scenario::Loss;

/// The area of the drawing, and where the axes are in it.
const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 470.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 310.0;
/// One colour for each line, which those who see few colours can tell apart (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// A line: who, and for each place on the axis its median, or nothing.
struct Line {
    who: &'static str,
    places: Vec<Option<f64>>,
}

/// The plots for which enough was measured, by file name.
pub(super) fn all(measured: &[Measured]) -> Vec<(&'static str, String)> {
    let mut plots = Vec::new();
    let scale =
        |one: &Measured| one.scenario.name.starts_with("s0-").then(|| f64::from(one.scenario.receivers));
    plots.extend(draw(measured, scale, "receivers, no loss").map(|text| ("cast-scale.svg", text)));
    let most = measured.iter().filter(|one| matches!(one.scenario.loss, Loss::Each { .. }));
    // The number of receivers with the most losses measured; of several the greatest.
    let count = |receivers: u16| most.clone().filter(|one| one.scenario.receivers == receivers).count();
    let receivers =
        most.clone().map(|one| one.scenario.receivers).max_by_key(|&number| (count(number), number));
    if let Some(receivers) = receivers {
        let loss = |one: &Measured| {
            let share = match one.scenario.loss {
                Loss::Each { share } => Some(share),
                Loss::None if one.scenario.name.starts_with("s0-") => Some(0),
                Loss::None | Loss::Bursts | Loss::OnePort { .. } | Loss::Reverse { .. } => None,
            };
            share.filter(|_| one.scenario.receivers == receivers).map(|share| f64::from(share) / 100.0)
        };
        let title = format!("per cent lost at each of {receivers} receivers");
        plots.extend(draw(measured, loss, &title).map(|text| ("cast-loss.svg", text)));
    }
    plots
}

/// `place`: where on the axis a measurement belongs. `None` with fewer than two places.
fn draw(measured: &[Measured], place: impl Fn(&Measured) -> Option<f64>, axis: &str) -> Option<String> {
    let mut places: Vec<f64> = measured.iter().filter_map(&place).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    if places.len() < 2 {
        return None;
    }
    let mut lines: Vec<Line> = Vec::new();
    for one in measured {
        let Some(at) = place(one).and_then(|at| places.iter().position(|place| *place == at)) else {
            continue;
        };
        let number = lines.iter().position(|line| line.who == one.who).unwrap_or_else(|| {
            lines.push(Line { who: one.who, places: vec![None; places.len()] });
            lines.len() - 1
        });
        let point = lines.get_mut(number).and_then(|line| line.places.get_mut(at));
        if let Some(point) = point {
            *point = crate::bench::median(&one.times());
        }
    }
    Some(svg(&places, &lines, axis))
}

fn svg(places: &[f64], lines: &[Line], axis: &str) -> String {
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\">until the last has it, by what the link allows (medians)</text>\n"
    );
    for value in [1.0, 1.5, 2.0, 3.0, 5.0, 10.0] {
        let y = height(value);
        let label = if value < PATIENCE { format!("{value}") } else { format!("≥ {value}") };
        let _ = writeln!(
            text,
            "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#ddd\"/><text x=\"{:.0}\" y=\"{:.1}\" \
             text-anchor=\"end\">{label}</text>",
            LEFT - 8.0,
            y + 4.0
        );
    }
    for (number, place) in places.iter().enumerate() {
        let x = across(number, places.len());
        let y = BOTTOM + 18.0;
        let _ = writeln!(text, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{place}</text>");
    }
    let (x, y) = (f64::midpoint(LEFT, RIGHT), BOTTOM + 38.0);
    let _ = writeln!(text, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{axis}</text>");
    for (number, (line, colour)) in lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        text.push_str(&curve(line, colour, number));
    }
    text.push_str("</svg>\n");
    text
}

/// A line with its points and its name.
fn curve(line: &Line, colour: &str, number: usize) -> String {
    let mut path = String::new();
    let mut points = String::new();
    for (at, median) in line.places.iter().enumerate() {
        let Some(median) = median else { continue };
        let (x, y) = (across(at, line.places.len()), height(*median));
        let sign = if path.is_empty() { 'M' } else { 'L' };
        let _ = write!(path, "{sign}{x:.1} {y:.1}");
        let _ = write!(points, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
    }
    let y = TOP + 18.0 * number_of(number);
    format!(
        "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>{points}\n\
         <path d=\"M{:.0} {y}h20\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"{:.0}\" y=\"{}\">{}</text>\n",
        RIGHT + 12.0,
        RIGHT + 38.0,
        y + 4.0,
        line.who
    )
}

/// Logarithmic: 1 is at the bottom, what did not finish at the top.
fn height(value: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * value.clamp(0.95, PATIENCE).ln() / PATIENCE.ln()
}

fn across(at: usize, of: usize) -> f64 {
    let margin = 15.0;
    LEFT + margin + (RIGHT - LEFT - 2.0 * margin) * number_of(at) / number_of(of.saturating_sub(1)).max(1.0)
}

#[allow(clippy::cast_precision_loss, reason = "a handful")]
fn number_of(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::super::peer::Outcome;
    use super::super::scenario::Scenario;
    use super::*;

    #[test]
    fn lines_go_through_the_medians() {
        let of = |receivers, seconds| {
            let scenario = Scenario::plain(receivers);
            let bytes = scenario.bytes(5.0);
            let count = usize::from(receivers);
            let outcome =
                Outcome { seconds: vec![Some(seconds); count], finished: true, ..Outcome::default() };
            Measured { outcomes: vec![outcome], ..Measured::new(&scenario, "a peer", 0.0, bytes) }
        };
        assert!(all(&[of(1, 10.0)]).is_empty());
        let plots = all(&[of(8, 100.0), of(1, 10.0)]);
        let [(name, text)] = plots.as_slice() else { panic!("one plot") };
        assert_eq!(*name, "cast-scale.svg");
        assert!(text.contains("M75.0 310.0L455.0 40.0"), "{text}");
        assert!(text.contains(">a peer</text>"));
    }
}
