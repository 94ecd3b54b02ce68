//! Sizes of files, functions, parameter lists and module trees.

use proc_macro2::Span;
use syn::visit::{self, Visit};
use syn::{FnArg, Signature};

use super::Finding;
use super::source::{Part, SourceFile};

/// Lines of a file without its tests.
const FILE_LINES: usize = 400;
/// Lines of a function, from its signature to its closing brace.
const FUNCTION_LINES: usize = 40;
/// Parameters without `self`.
const PARAMETERS: usize = 4;
/// Module levels below the crate's root.
const MODULE_LEVELS: usize = 2;
/// Above this median of file lengths, files are getting too long in general.
const MEDIAN_LINES: usize = 200;

/// Checks the sizes of one file. Tests may be as long as they need.
pub(super) fn check(source: &SourceFile) -> Vec<Finding> {
    if source.part == Part::Test {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let lines = source.code_lines();
    if lines > FILE_LINES {
        let text = format!("{lines} lines without tests, at most {FILE_LINES}: split the file by subject");
        findings.push(source.finding(1, "file-size", text));
    }
    let mut walk = Walk { source, findings, modules: file_level(source) };
    walk.level(1);
    walk.visit_file(&source.tree);
    walk.findings
}

/// Says so when the median file is long.
pub(super) fn median_warning(sources: &[SourceFile]) -> Option<String> {
    let mut lines: Vec<usize> =
        sources.iter().filter(|source| source.part == Part::Code).map(SourceFile::code_lines).collect();
    lines.sort_unstable();
    let median = *lines.get(lines.len() / 2)?;
    (median > MEDIAN_LINES).then(|| format!("the median file has {median} lines; about 150 reads well"))
}

/// How deep the file's own module is.
fn file_level(source: &SourceFile) -> usize {
    let mut names: Vec<&str> = source.path.iter().filter_map(|name| name.to_str()).collect();
    let start = names.iter().position(|name| ["src", "examples"].contains(name)).map_or(0, |at| at + 1);
    names.drain(..start);
    let is_root = |name: &&str| ["mod.rs", "lib.rs", "main.rs", "bin"].contains(name);
    names.iter().filter(|name| !is_root(name)).count()
}

struct Walk<'a> {
    source: &'a SourceFile,
    findings: Vec<Finding>,
    modules: usize,
}

impl Walk<'_> {
    fn level(&mut self, line: usize) {
        if self.modules > MODULE_LEVELS {
            let text = format!("module level {}, at most {MODULE_LEVELS}: flatten the tree", self.modules);
            self.findings.push(self.source.finding(line, "module-depth", text));
        }
    }

    fn function(&mut self, signature: &Signature, end: Option<Span>) {
        let start = signature.fn_token.span.start().line;
        if self.source.is_test(start) {
            return;
        }
        let name = &signature.ident;
        let lines = end.map_or(0, |end| end.end().line + 1 - start);
        if lines > FUNCTION_LINES {
            let text =
                format!("`{name}` has {lines} lines, at most {FUNCTION_LINES}: name its steps as functions");
            self.findings.push(self.source.finding(start, "function-size", text));
        }
        let parameters = signature.inputs.iter().filter(|input| matches!(input, FnArg::Typed(_))).count();
        if parameters > PARAMETERS {
            let text =
                format!("`{name}` takes {parameters} parameters, at most {PARAMETERS}: a struct is due");
            self.findings.push(self.source.finding(start, "parameters", text));
        }
    }
}

impl<'tree> Visit<'tree> for Walk<'_> {
    fn visit_item_mod(&mut self, module: &'tree syn::ItemMod) {
        let line = module.mod_token.span.start().line;
        if module.content.is_some() && !self.source.is_test(line) {
            self.modules += 1;
            self.level(line);
            visit::visit_item_mod(self, module);
            self.modules -= 1;
        }
    }

    fn visit_item_fn(&mut self, function: &'tree syn::ItemFn) {
        self.function(&function.sig, Some(function.block.brace_token.span.close()));
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'tree syn::ImplItemFn) {
        self.function(&function.sig, Some(function.block.brace_token.span.close()));
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'tree syn::TraitItemFn) {
        self.function(&function.sig, function.default.as_ref().map(|block| block.brace_token.span.close()));
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn rules(path: &str, text: &str) -> Vec<(&'static str, usize)> {
        let source = SourceFile::parse(Path::new(path), text).unwrap();
        check(&source).into_iter().map(|finding| (finding.rule, finding.line)).collect()
    }

    const FILE: &str = "crates/a/src/b.rs";

    #[test]
    fn a_file_of_401_lines_is_too_long_unless_the_surplus_is_tests() {
        let code = "const A: u8 = 1;\n";
        assert_eq!(rules(FILE, &code.repeat(401)), [("file-size", 1)]);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", code.repeat(300));
        assert_eq!(rules(FILE, &(code.repeat(400) + &tests)), []);
    }

    #[test]
    fn a_function_of_41_lines_is_too_long_wherever_it_stands() {
        let body = "    call();\n".repeat(39);
        assert_eq!(rules(FILE, &format!("\nfn f() {{\n{body}}}\n")), [("function-size", 2)]);
        assert_eq!(rules(FILE, &format!("impl A {{ fn f(&self) {{\n{body}}} }}\n")), [("function-size", 1)]);
        assert_eq!(rules(FILE, &format!("trait A {{ fn f(&self) {{\n{body}}} }}\n")), [("function-size", 1)]);
        assert_eq!(rules(FILE, &format!("#[test]\nfn f() {{\n{body}}}\n")), []);
        assert_eq!(rules("crates/a/tests/b.rs", &format!("fn f() {{\n{body}}}\n")), []);
        assert_eq!(rules(FILE, &format!("fn f() {{\n{}}}\n", "    call();\n".repeat(38))), []);
    }

    #[test]
    fn five_parameters_are_too_many_and_self_is_none() {
        assert_eq!(rules(FILE, "fn f(a: A, b: A, c: A, d: A, e: A) {}"), [("parameters", 1)]);
        assert_eq!(rules(FILE, "trait T { fn f(&self, a: A, b: A, c: A, d: A); }"), []);
    }

    #[test]
    fn a_third_module_level_is_too_deep() {
        assert_eq!(rules("crates/a/src/b/c/d.rs", ""), [("module-depth", 1)]);
        assert_eq!(
            rules("crates/a/src/b/c.rs", "\nmod d { mod e {} }"),
            [("module-depth", 2), ("module-depth", 2)]
        );
        assert_eq!(rules("crates/a/src/b/c.rs", "#[cfg(test)] mod tests { mod more {} }"), []);
        assert_eq!(rules("crates/a/src/bin/c.rs", "mod d {}"), []);
    }

    #[test]
    fn a_long_median_is_worth_a_warning() {
        let source = |lines| SourceFile::parse(Path::new(FILE), &"// x\n".repeat(lines)).unwrap();
        assert!(median_warning(&[source(10), source(201), source(300)]).unwrap().contains("201"));
        assert_eq!(median_warning(&[source(10), source(150), source(399)]), None);
    }
}
