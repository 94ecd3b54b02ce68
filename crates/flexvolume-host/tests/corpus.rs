//! Every case of the reply corpus, through both readers.

#[path = "support/corpus.rs"]
mod corpus;
#[path = "support/corpus_format.rs"]
mod corpus_format;

use std::path::Path;

#[test]
fn both_readers_agree_with_every_case() {
    let cases = corpus::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")).unwrap();
    assert_eq!(cases.len(), 520, "the fixtures are complete");
    let mut failed = 0;
    for case in &cases {
        let differences = case.differences();
        failed += usize::from(!differences.is_empty());
        for difference in differences {
            eprintln!(
                "{}: {} {}: expected {}, got {}",
                case.id, difference.reader, difference.field, difference.expected, difference.got
            );
        }
    }
    assert_eq!(failed, 0, "{failed} of {} cases differ", cases.len());
}
