//! From bytes to documents.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread;

use serde_saphyr::options::{MergeKeyPolicy, NonFiniteFloatPolicy};

use super::error::{ManifestError, Place, Problem};
pub use super::node::Node;

/// The largest manifest file. The API server takes objects of 1.5 MiB.
const FILE_LIMIT: u64 = 4 << 20;

/// Enough for 128 levels in a build without optimization, several times over. Only what is used costs memory.
pub const PARSER_STACK: usize = 64 << 20;

/// A document and the file that it comes from.
#[derive(Debug)]
pub struct Document {
    /// The file; `-` is standard input.
    pub file: PathBuf,
    /// Its content.
    pub root: Node,
}

/// Reads the documents of a file; `-` is standard input.
///
/// # Errors
/// [`ManifestError`] when the file cannot be read or is neither YAML nor JSON.
pub fn documents(file: &Path) -> Result<Vec<Document>, ManifestError> {
    let error = |problem| ManifestError::new(whole_file(file), problem);
    let text = read_text(file).map_err(error)?;
    Ok(parse(file, &text)?.into_iter().map(|root| Document { file: whole_file(file).file, root }).collect())
}

/// Parses the documents of a text. A text that begins with `{` is a stream of JSON documents, as for kubectl;
/// everything else is YAML.
///
/// # Errors
/// [`ManifestError`] with the line of the offence.
pub fn parse(file: &Path, text: &str) -> Result<Vec<Node>, ManifestError> {
    // The parsers call themselves for each level, down to their limits: on a stack of its own that is deep enough.
    thread::scope(|scope| {
        let parsing = thread::Builder::new()
            .stack_size(PARSER_STACK)
            .spawn_scoped(scope, || parse_on_this_stack(file, text));
        let failed = |error| ManifestError::new(whole_file(file), Problem::Unreadable(error));
        parsing
            .map_err(failed)?
            .join()
            .unwrap_or_else(|_| Err(failed(std::io::Error::other("the parser gave up"))))
    })
}

/// The same without a thread of its own, for one who has such a stack ([`PARSER_STACK`]) and many texts.
///
/// # Errors
/// [`ManifestError`] with the line of the offence.
pub fn parse_on_this_stack(file: &Path, text: &str) -> Result<Vec<Node>, ManifestError> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') { parse_json(file, text) } else { parse_yaml(file, text) }
}

fn parse_yaml(file: &Path, text: &str) -> Result<Vec<Node>, ManifestError> {
    serde_saphyr::from_multiple_with_options(text, yaml_options()).map_err(|error| {
        let line = error.location().and_then(|location| u32::try_from(location.line()).ok());
        let text = error.render_with_options(serde_saphyr::render_options! {
            formatter: &serde_saphyr::UserMessageFormatter,
            snippets: serde_saphyr::SnippetMode::Off,
        });
        let place = Place { line: line.filter(|line| *line > 0), ..whole_file(file) };
        ManifestError::new(place, Problem::Syntax(text))
    })
}

fn parse_json(file: &Path, text: &str) -> Result<Vec<Node>, ManifestError> {
    let documents = serde_json::Deserializer::from_str(text).into_iter::<Node>();
    documents.collect::<Result<_, _>>().map_err(|error: serde_json::Error| {
        ManifestError::new(
            Place { line: u32::try_from(error.line()).ok(), ..whole_file(file) },
            Problem::Syntax(error.to_string()),
        )
    })
}

/// Bounds that no manifest of a person reaches. No snippets in errors: a line may hold a secret. Booleans as in YAML 1.1
/// (`yes`, `on`), because the API server's reader takes them so: an unquoted `yes` is no text.
fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 400_000,
            max_nodes: 100_000,
            max_documents: 1_000,
            max_depth: 64,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 100_000,
            max_recorded_anchor_bytes: 1 << 20,
            max_merge_keys: 1_000,
        },
        merge_keys: MergeKeyPolicy::Merge,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

fn read_text(file: &Path) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
    } else {
        File::open(file)?.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(Problem::TooLarge { limit: FILE_LIMIT });
    }
    String::from_utf8(bytes).map_err(|_| Problem::NotText)
}

fn whole_file(file: &Path) -> Place {
    let name = if file == Path::new("-") { Path::new("standard input") } else { file };
    Place { file: name.to_owned(), ..Place::default() }
}
