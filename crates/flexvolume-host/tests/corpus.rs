//! Every case of the reply corpus, through both readers; and the page that sums them up, driver by driver.

#[path = "support/compatibility.rs"]
mod compatibility;
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

/// With `UPDATE_EXPECTED=1` in the environment the page is written anew, to be reviewed.
#[test]
fn the_page_of_drivers_is_what_the_corpus_says() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (page, settings) =
        (here.join("../../docs/drivers-compat.md"), here.join("../../docs/drivers-settings.md"));
    let files = corpus::load_files(&here.join("tests/corpus")).unwrap();
    let wanted = compatibility::page(&files, &std::fs::read_to_string(settings).unwrap());
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&page, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&page).unwrap_or_default();
    assert_eq!(found, wanted, "{} is stale: run this test with UPDATE_EXPECTED=1", page.display());
}
