//! A Rust file, parsed once for all rules.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

use super::Finding;

/// Where a file belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The library or a binary.
    Code,
    /// An example.
    Example,
    /// A unit or integration test, or a benchmark.
    Test,
}

/// A parsed Rust file.
pub(super) struct SourceFile {
    /// Its path below the workspace's root.
    pub(super) path: PathBuf,
    /// Where it belongs.
    pub(super) part: Part,
    /// How many lines it has.
    pub(super) lines: usize,
    /// The syntax tree.
    pub(super) tree: syn::File,
    /// The lines of items that exist in tests only.
    test_lines: Vec<RangeInclusive<usize>>,
    /// Every path, with the names that `use` brought in written out, and where it is.
    pub(super) paths: Vec<(String, usize)>,
}

impl SourceFile {
    /// Parses `text`.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Finding> {
        let broken = |line, text: String| Finding { file: path.to_owned(), line, rule: "syntax", text };
        let tree = syn::parse_file(text).map_err(|e| broken(e.span().start().line, e.to_string()))?;
        let tokens: TokenStream =
            text.parse().map_err(|e: proc_macro2::LexError| broken(e.span().start().line, e.to_string()))?;
        let mut items = Items::default();
        items.visit_file(&tree);
        let mut paths = items.imports;
        written_paths(tokens, &items.aliases, &mut paths);
        let (part, lines) = (part(path), text.lines().count());
        Ok(Self { path: path.to_owned(), part, lines, tree, test_lines: items.test_lines, paths })
    }

    /// Is this line in a test?
    pub(super) fn is_test(&self, line: usize) -> bool {
        self.part == Part::Test || self.test_lines.iter().any(|range| range.contains(&line))
    }

    /// The number of lines outside tests.
    pub(super) fn code_lines(&self) -> usize {
        (1..=self.lines).filter(|line| !self.is_test(*line)).count()
    }

    /// A finding in this file.
    pub(super) fn finding(&self, line: usize, rule: &'static str, text: String) -> Finding {
        Finding { file: self.path.clone(), line, rule, text }
    }
}

fn part(path: &Path) -> Part {
    let has = |folder: &str| path.iter().any(|name| name == folder);
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if has("tests") || has("benches") || has("fuzz") || stem == "tests" || stem.ends_with("_tests") {
        Part::Test
    } else if has("examples") {
        Part::Example
    } else {
        Part::Code
    }
}

/// What a walk over the items collects.
#[derive(Default)]
struct Items {
    test_lines: Vec<RangeInclusive<usize>>,
    /// Name in this file to the full path.
    aliases: HashMap<String, String>,
    /// Every path that `use` names.
    imports: Vec<(String, usize)>,
}

impl<'tree> Visit<'tree> for Items {
    fn visit_item(&mut self, item: &'tree Item) {
        if attributes(item).iter().any(is_test_attribute) {
            self.test_lines.push(line(item.span())..=item.span().end().line);
        }
        visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, item: &'tree syn::ItemUse) {
        self.import("", &item.tree);
    }
}

impl Items {
    fn import(&mut self, prefix: &str, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => self.import(&format!("{prefix}{}::", path.ident), &path.tree),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(prefix, tree)),
            UseTree::Name(name) => self.name(prefix, &name.ident.to_string(), &name.ident),
            UseTree::Rename(rename) => self.name(prefix, &rename.ident.to_string(), &rename.rename),
            UseTree::Glob(star) => self.imports.push((format!("{prefix}*"), line(star.span()))),
        }
    }

    fn name(&mut self, prefix: &str, name: &str, here: &syn::Ident) {
        let full =
            if name == "self" { prefix.trim_end_matches("::").to_owned() } else { format!("{prefix}{name}") };
        let local = if name == "self" {
            full.rsplit("::").next().unwrap_or(&full).to_owned()
        } else {
            here.to_string()
        };
        self.imports.push((full.clone(), line(here.span())));
        // `as _` brings in no name.
        if local != "_" {
            self.aliases.insert(local, full);
        }
    }
}

/// Every `a::b::c` among the tokens, also inside macros.
fn written_paths(tokens: TokenStream, aliases: &HashMap<String, String>, found: &mut Vec<(String, usize)>) {
    let mut current: Option<(String, usize)> = None;
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(name) => {
                let at_line = line(name.span());
                match (&mut current, colons) {
                    (Some((path, _)), 2) => *path = format!("{path}::{name}"),
                    _ => {
                        found.extend(current.take());
                        let name = name.to_string();
                        current = Some((aliases.get(&name).cloned().unwrap_or(name), 0));
                    }
                }
                if let Some((_, at)) = &mut current {
                    *at = at_line;
                }
                colons = 0;
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
            other => {
                found.extend(current.take());
                colons = 0;
                if let TokenTree::Group(group) = other {
                    written_paths(group.stream(), aliases, found);
                }
            }
        }
    }
    found.extend(current);
}

fn line(span: Span) -> usize {
    span.start().line
}

fn is_test_attribute(attribute: &Attribute) -> bool {
    if attribute.path().is_ident("test") {
        return true;
    }
    let syn::Meta::List(list) = &attribute.meta else { return false };
    let words: Vec<String> = list.tokens.clone().into_iter().map(|token| token.to_string()).collect();
    attribute.path().is_ident("cfg")
        && (words == ["test"]
            || words.first().is_some_and(|word| word == "all")
                && words.iter().any(|word| word.contains("test")))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Const(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> SourceFile {
        SourceFile::parse(Path::new("crates/a/src/b.rs"), text).unwrap()
    }

    #[test]
    fn names_from_use_are_written_out() {
        let file = parse(
            "use std::{process as p, fs::{self, File}};\nfn f() { p::Command::new(x!(fs::read)); File::open() }",
        );
        let paths: Vec<&str> = file.paths.iter().map(|(path, _)| path.as_str()).collect();
        for path in ["std::process::Command::new", "std::fs::read", "std::fs::File::open"] {
            assert!(paths.contains(&path), "{path} in {paths:?}");
        }
    }

    #[test]
    fn an_import_without_a_name_names_nothing_else() {
        let file = parse("use std::fmt::Write as _;\nfn f() { let _ = 1; }");
        assert!(file.paths.iter().filter(|(path, _)| path == "std::fmt::Write").all(|(_, line)| *line == 1));
    }

    #[test]
    fn test_modules_do_not_count_as_code() {
        let file = parse("fn f() {}\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}\nfn h() {}\n");
        assert_eq!(file.code_lines(), 2);
        assert!(file.is_test(4) && !file.is_test(6));
    }

    #[test]
    fn a_file_that_does_not_parse_is_a_finding() {
        let finding = SourceFile::parse(Path::new("a.rs"), "\nfn f( {}").err().unwrap();
        assert_eq!((finding.rule, finding.line), ("syntax", 2));
    }

    #[test]
    fn a_feature_named_test_is_no_test() {
        let file = parse("#[cfg(feature = \"test\")]\nfn f() {}\n#[cfg(all(test, unix))]\nfn g() {}\n");
        assert!(!file.is_test(2) && file.is_test(4));
    }
}
