//! Figures for monitoring, and how Prometheus reads them.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// Everything that is counted or measured under one name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricFamily {
    /// The name, by the conventions of Prometheus: unit and `_total` at the end.
    pub name: String,
    /// `counter` or `gauge`.
    pub kind: String,
    /// What it is, in a sentence.
    pub help: String,
    /// The values.
    pub samples: Vec<MetricSample>,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricSample {
    /// Of what.
    pub labels: BTreeMap<String, String>,
    /// In the unit of the name.
    pub value: f64,
}

/// The text format of Prometheus, version 0.0.4. Label values may be any text: nodes name their own images and disks.
pub fn exposition(families: &[MetricFamily]) -> String {
    let mut text = String::new();
    for MetricFamily { name, kind, help, samples } in families {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing into a string can't fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for MetricSample { labels, value } in samples {
            let pairs = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value)));
            let pairs = pairs.collect::<Vec<_>>().join(",");
            let labels = if pairs.is_empty() { String::new() } else { format!("{{{pairs}}}") };
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::{MetricFamily, MetricSample, exposition};

    #[test]
    fn a_value_can_forge_no_line() {
        let labels = [("image".to_owned(), "a\"} 1\nx{y=\"\\".to_owned())].into();
        let family = MetricFamily {
            name: "rackwright_x_bytes".to_owned(),
            kind: "gauge".to_owned(),
            help: "One\nand \\ two".to_owned(),
            samples: vec![
                MetricSample { labels, value: 1.5 },
                MetricSample { labels: [].into(), value: 9_007_199_254_740_992.0 },
            ],
        };
        let expected = "# HELP rackwright_x_bytes One\\nand \\\\ two\n# TYPE rackwright_x_bytes gauge\n\
                        rackwright_x_bytes{image=\"a\\\"} 1\\nx{y=\\\"\\\\\"} 1.5\n\
                        rackwright_x_bytes 9007199254740992\n";
        assert_eq!(exposition(&[family]), expected);
    }
}
