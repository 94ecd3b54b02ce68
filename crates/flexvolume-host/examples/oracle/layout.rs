//! The working directory of a scenario: drivers, tools and the tables that they answer from.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::scenario::{Answer, Driver, MounterKind, Scenario};

/// The plugin directory, below the working directory.
pub(crate) const PLUGIN_DIR: &str = "exec";
/// The only directory in which tools are looked for.
pub(crate) const TOOL_DIR: &str = "tools";
/// Tables, counters and the log of the replaying script.
pub(crate) const REPLAY_DIR: &str = "replay";

/// The script that answers from a table.
const REPLAY: &str = include_str!("../../tests/oracle/replay.sh");

/// Writes what a scenario needs below `root`.
pub(crate) fn lay_out(scenario: &Scenario, root: &Path) -> io::Result<()> {
    for directory in [PLUGIN_DIR, TOOL_DIR, REPLAY_DIR] {
        fs::create_dir_all(root.join(directory))?;
    }
    for (directory, driver) in &scenario.drivers {
        lay_out_driver(root, directory, driver)?;
    }
    if scenario.mounter == MounterKind::Real {
        return Ok(());
    }
    for (tool, answers) in &scenario.tools {
        let table = format!(".tool.{tool}");
        lay_out_answers(root, &table, "any", answers)?;
        write_file(&root.join(TOOL_DIR).join(tool), fill("/*/*", &table, "any").as_bytes(), 0o755)?;
    }
    Ok(())
}

fn lay_out_driver(root: &Path, directory: &str, driver: &Driver) -> io::Result<()> {
    let place = root.join(PLUGIN_DIR).join(directory);
    fs::create_dir_all(&place)?;
    let unknown = Answer { stdout: r#"{"status":"Not supported"}"#.to_owned(), exit: 1, ..Answer::default() };
    lay_out_answer(&root.join(REPLAY_DIR).join(directory).join("default"), &unknown)?;
    for (call, answers) in &driver.calls {
        lay_out_answers(root, directory, call, answers)?;
    }
    let program = directory.rsplit('~').next().unwrap_or_default();
    // `vendor~`: the directory itself would be the program.
    if program.is_empty() || driver.file.absent {
        return Ok(());
    }
    let mode = match driver.file.mode.as_str() {
        "" => 0o755,
        mode => u32::from_str_radix(mode, 8).map_err(io::Error::other)?,
    };
    let content = match driver.file.content.as_str() {
        "" => fill("/*/*/*", directory, "$1"),
        content => content.to_owned(),
    };
    write_file(&place.join(program), content.as_bytes(), mode)
}

/// `CALL.N` for each answer, and the last one again for all later invocations.
fn lay_out_answers(root: &Path, table: &str, call: &str, answers: &[Answer]) -> io::Result<()> {
    let table = root.join(REPLAY_DIR).join(table);
    for (index, answer) in answers.iter().enumerate() {
        if call == "default" {
            lay_out_answer(&table.join(call), answer)?;
            continue;
        }
        lay_out_answer(&table.join(format!("{call}.{}", index + 1)), answer)?;
        if index + 1 == answers.len() {
            lay_out_answer(&table.join(format!("{call}.last")), answer)?;
        }
    }
    Ok(())
}

fn lay_out_answer(directory: &Path, answer: &Answer) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let stdout = match &answer.stdout_b64 {
        Some(encoded) => BASE64_STANDARD.decode(encoded).map_err(io::Error::other)?,
        None => answer.stdout.clone().into_bytes(),
    };
    let delay = match answer.delay_ms {
        0 => String::new(),
        delay => format!("{}.{:03}\n", delay / 1000, delay % 1000),
    };
    let exit = format!("{}\n", answer.exit);
    let files: [(&str, &[u8]); 5] = [
        ("exit", exit.as_bytes()),
        ("stdout", &stdout),
        ("stderr", answer.stderr.as_bytes()),
        ("sh", answer.sh.as_bytes()),
        ("delay", delay.as_bytes()),
    ];
    for (name, content) in files.into_iter().filter(|(_, content)| !content.is_empty()) {
        write_file(&directory.join(name), content, 0o644)?;
    }
    Ok(())
}

fn fill(up: &str, name: &str, call: &str) -> String {
    REPLAY.replace("@UP@", up).replace("@NAME@", name).replace("@CALL@", call)
}

fn write_file(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    fs::write(path, content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
