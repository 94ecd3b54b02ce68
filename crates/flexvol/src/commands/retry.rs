//! `flexvol retry`.

use crate::agent::{Query, RetryDocument, ask};
use crate::args::{Global, RetryArguments};
use crate::failure::{Failure, OK};
use crate::output::Output;

pub(super) fn run(global: &Global, arguments: &RetryArguments) -> Result<u8, Failure> {
    let root = std::path::absolute(&global.root)?;
    let pod = arguments.pod.as_ref().map(|pod| ("pod", pod.as_str()));
    let volume = arguments.volume.as_ref().map(|volume| ("volume", volume.as_str()));
    let query = Query { target: ("POST", "/v1/retry"), pairs: pod.into_iter().chain(volume).collect() };
    let document: RetryDocument = ask(&root, &query)?;
    Output { format: global.output }.print(&document, |document| match document.retried {
        0 => "nothing is waiting to be tried again".to_owned(),
        1 => "1 volume is tried again now".to_owned(),
        some => format!("{some} volumes are tried again now"),
    })?;
    Ok(OK)
}
