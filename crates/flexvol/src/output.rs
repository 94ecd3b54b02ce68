//! What is printed: text for people, JSON for programs. Results go to standard output, everything else to standard
//! error.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::args::OutputFormat;
use crate::failure::Failure;

/// A status word in a colour, if the terminal has any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Doubtful,
    Bad,
}

/// Standard output, in one of two formats.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) format: OutputFormat,
}

impl Output {
    /// Prints a result: `value` as JSON, or what `text` makes of it.
    pub(crate) fn print<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let mut rendered = match self.format {
            OutputFormat::Json => serde_json::to_string_pretty(value).map_err(io::Error::from)?,
            OutputFormat::Text => text(value),
        };
        if !rendered.ends_with('\n') && !rendered.is_empty() {
            rendered.push('\n');
        }
        write_out(rendered.as_bytes())
    }

    /// Tells on standard error why the command failed.
    pub(crate) fn failed(self, failure: &Failure) {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Json<'a> {
            errors: &'a [String],
            exit_code: u8,
        }
        let mut err = anstream::stderr();
        // Nobody is left to hear of an error here.
        let _ = match self.format {
            OutputFormat::Json => {
                let json = Json { errors: &failure.lines, exit_code: failure.code };
                serde_json::to_string(&json).map_err(io::Error::from).and_then(|json| writeln!(err, "{json}"))
            }
            OutputFormat::Text => failure
                .lines
                .iter()
                .try_for_each(|line| writeln!(err, "{}: {line}", toned("flexvol", Tone::Bad))),
        };
    }

    /// Tells something beside the result, on standard error.
    pub(crate) fn note(self, words: impl std::fmt::Display) {
        let _ = writeln!(anstream::stderr(), "flexvol: {words}");
    }
}

/// Writes to standard output. Whoever has stopped reading is no error.
pub(crate) fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    match anstream::stdout().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A word in its colour; the stream takes the colour out where there is none.
pub(crate) fn toned(word: &str, tone: Tone) -> String {
    let color = match tone {
        Tone::Good => AnsiColor::Green,
        Tone::Doubtful => AnsiColor::Yellow,
        Tone::Bad => AnsiColor::Red,
    };
    let style = Style::new().fg_color(Some(color.into()));
    format!("{style}{word}{style:#}")
}

/// A field of a table.
pub(crate) struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    /// A field in a colour.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone: Some(tone) }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }

    fn padded(&self, width: usize) -> String {
        let padding = " ".repeat(width.saturating_sub(self.width()));
        match self.tone {
            Some(tone) => toned(&self.text, tone) + &padding,
            None => self.text.clone() + &padding,
        }
    }
}

impl<T: ToString> From<T> for Cell {
    /// A field in one line: a name may hold any character.
    fn from(text: T) -> Self {
        let text = text.to_string().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        Self { text, tone: None }
    }
}

/// A table of columns two spaces apart; the last one may be as long as it likes.
pub(crate) fn table<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [Cell; COLUMNS]>,
) -> String {
    let rows: Vec<[Cell; COLUMNS]> = std::iter::once(header.map(Cell::from)).chain(rows).collect();
    let mut widths = [0; COLUMNS];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.width().max(*width);
        }
    }
    let line = |row: &[Cell; COLUMNS]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| cell.padded(width)).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// What a driver has said may hold anything, also what a terminal would obey.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::{Cell, Tone, table};

    #[test]
    fn columns_are_aligned_whatever_the_colours() {
        let rows = [
            [Cell::toned("ok", Tone::Good), Cell::from("long\nname"), Cell::from("x")],
            [Cell::toned("broken", Tone::Bad), Cell::from("b"), Cell::from("")],
        ];
        let text = anstream::adapter::strip_str(&table(["STATE", "NAME", "WHERE"], rows)).to_string();
        assert_eq!(text, "STATE   NAME       WHERE\nok      long\u{fffd}name  x\nbroken  b\n");
    }
}
