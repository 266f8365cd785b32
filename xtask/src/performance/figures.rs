//! What `ring3 bench --json` has measured.

use serde_json::Value;

/// One row.
pub(super) struct Row {
    /// What one operation is.
    pub(super) what: String,
    /// Medians, nanoseconds; `None`: it failed.
    pub(super) kernel: Option<f64>,
    pub(super) ring3: Option<f64>,
    /// Median deviations, as parts of the medians.
    spread: [Option<f64>; 2],
    /// How many times faster than the kernel ring3 is.
    pub(super) ratio: Option<f64>,
    /// How many times it must be at least.
    pub(super) target: f64,
}

/// All of it.
pub(super) struct Figures {
    pub(super) rows: Vec<Row>,
    machine: Vec<(String, Option<f64>)>,
    kernel: String,
    cpus: u64,
    rounds: u64,
    time: u64,
}

impl Figures {
    /// Reads it.
    pub(super) fn parse(json: &str) -> Result<Figures, String> {
        let whole: Value = serde_json::from_str(json).map_err(|why| format!("the measurements: {why}"))?;
        let rows = whole["rows"].as_array().ok_or("the measurements have no rows")?;
        let machine = whole["machine"].as_object().ok_or("the measurements say nothing of the machine")?;
        Ok(Figures {
            rows: rows.iter().map(row).collect(),
            machine: machine.iter().map(|(name, ns)| (name.replace('_', " "), ns.as_f64())).collect(),
            kernel: whole["kernel_release"].as_str().unwrap_or_default().to_owned(),
            cpus: whole["cpus"].as_u64().unwrap_or_default(),
            rounds: whole["rounds"].as_u64().unwrap_or_default(),
            time: whole["time_ms"].as_u64().unwrap_or_default(),
        })
    }

    /// The rows as Markdown.
    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "Linux {}, {} CPUs; medians of {} rounds of {} ms for each side, in turn; ± is the median deviation.\n\n",
            self.kernel, self.cpus, self.rounds, self.time
        );
        text.push_str("| row | kernel | ring3 | ratio | target |\n| --- | --- | --- | --- | --- |\n");
        for row in &self.rows {
            let cell = |ns: Option<f64>, spread: Option<f64>| match (ns, spread) {
                (Some(ns), Some(spread)) => format!("{} ±{:.0} %", duration(ns), spread * 100.0),
                _ => "failed".to_owned(),
            };
            let ratio = row.ratio.map_or("-".to_owned(), |ratio| {
                let below = if ratio < row.target { ", below" } else { "" };
                format!("{}{below}", times(ratio))
            });
            text.push_str(&format!(
                "| {} | {} | {} | {ratio} | {} |\n",
                row.what,
                cell(row.kernel, row.spread[0]),
                cell(row.ring3, row.spread[1]),
                times(row.target)
            ));
        }
        text
    }

    /// What the machine itself takes, as Markdown.
    pub(super) fn machine_table(&self) -> String {
        let mut text = "| the machine itself | |\n| --- | --- |\n".to_owned();
        for (what, ns) in &self.machine {
            text.push_str(&format!("| {what} | {} |\n", ns.map_or("-".to_owned(), duration)));
        }
        text
    }
}

fn row(line: &Value) -> Row {
    let figure = |side: &str, name: &str| line[side][name].as_f64();
    Row {
        what: line["what"].as_str().unwrap_or_default().to_owned(),
        kernel: figure("kernel", "median_ns"),
        ring3: figure("ring3", "median_ns"),
        spread: ["kernel", "ring3"].map(|side| figure(side, "mad")),
        ratio: line["ratio"].as_f64(),
        target: line["target"].as_f64().unwrap_or_default(),
    }
}

/// A duration, three digits of it.
pub(super) fn duration(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 999.5 => (ns, "ns"),
        ns if ns < 999_500.0 => (ns / 1e3, "µs"),
        ns => (ns / 1e6, "ms"),
    };
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {unit}")
}

/// A ratio.
pub(super) fn times(ratio: f64) -> String {
    if ratio < 9.95 { format!("{ratio:.2} ×") } else { format!("{ratio:.0} ×") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_lines() {
        let json = r#"{"kernel_release":"6.1","cpus":2,"rounds":3,"time_ms":50,"machine":{"copy_64":3.5,"line_round_trip":null},
            "rows":[{"what":"semop","kernel":{"median_ns":900.0,"mad":0.02},"ring3":{"median_ns":18.0,"mad":0.01},"ratio":50.0,"target":10.0},
                    {"what":"other","kernel":{"median_ns":null},"ring3":{"median_ns":1800.0,"mad":0.0},"ratio":null,"target":1.0}]}"#;
        let figures = Figures::parse(json).unwrap();
        let table = figures.table();
        assert!(table.contains("| semop | 900 ns ±2 % | 18.0 ns ±1 % | 50 × | 10 × |"), "{table}");
        assert!(table.contains("| other | failed | 1.80 µs ±0 % | - | 1.00 × |"), "{table}");
        assert!(figures.machine_table().contains("| copy 64 | 3.50 ns |\n| line round trip | - |"));
        assert!(Figures::parse("{}").is_err());
    }
}
