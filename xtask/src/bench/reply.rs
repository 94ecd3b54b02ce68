//! `reply.`: how fast the answers of drivers are read. Measured by the host crate's example `bench_reply`.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Group;
use super::figure::{Figure, Outcome};
use super::programs::Programs;
use crate::process;

/// Noise and logs around a reply, the reply alone, and that the time grows with the size and no faster.
pub(super) const GROUP: Group = Group {
    figures: &[
        Figure::at_least("reply.tolerant.1KiB", 200.0, "MB/s"),
        Figure::at_least("reply.tolerant.1MiB", 200.0, "MB/s"),
        Figure::at_least("reply.tolerant.logs.1KiB", 100.0, "MB/s"),
        Figure::at_least("reply.tolerant.logs.1MiB", 100.0, "MB/s"),
        Figure::at_least("reply.strict.1KiB", 200.0, "MB/s"),
        Figure::at_least("reply.strict.1MiB", 200.0, "MB/s"),
        Figure::at_most("reply.tolerant.linear.text", 1.3, "ratio"),
        Figure::at_most("reply.tolerant.linear.logs", 1.3, "ratio"),
        Figure::at_most("reply.tolerant.linear.broken", 1.3, "ratio"),
        Figure::at_most("reply.tolerant.linear.nested", 1.3, "ratio"),
    ],
    measure,
};

fn measure(programs: &Programs, report: &mut dyn FnMut(Outcome)) -> Result<()> {
    // It judges its figures itself, by its exit code too; here they are judged by the goals above.
    let output = process::output(&mut Command::new(programs.get("bench_reply")?))?;
    let text = String::from_utf8_lossy(&output.stdout);
    for figure in GROUP.figures {
        report(figure.value(value_of(figure.name, &text)?));
    }
    Ok(())
}

fn value_of(name: &str, text: &str) -> Result<f64> {
    let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.find(|line| line["name"] == name);
    line.and_then(|line| line["value"].as_f64()).with_context(|| format!("bench_reply printed no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_found_by_its_name() {
        let text = "noise\n{\"name\":\"a\",\"value\":1.5}\n{\"name\":\"b\",\"value\":2}\n";
        assert_eq!(value_of("b", text).unwrap(), 2.0);
        assert!(value_of("c", text).is_err());
    }
}
