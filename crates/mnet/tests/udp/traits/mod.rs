//! The traits of other crates: what uses them here is generic over whoever implements them.

mod edge;
mod embedded;

use std::future::Future;

use mkernel::timeout;

use crate::{LONG, SHORT};

/// What a future gives that is to be done soon.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(LONG, future).await.unwrap()
}

/// Whether nothing comes of a future for a while. It is dropped then.
async fn is_pending<F: Future>(future: F) -> bool {
    timeout(SHORT, future).await.is_err()
}
