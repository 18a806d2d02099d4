//! The agents' routes as a list. What is not in it can't be asked for, so a test that walks the list has walked them all.

use pack::Digest;
use protocol::routes;

use super::capture;

/// What the paths of images begin with, as in `protocol::routes::manifest`.
const IMAGES: &str = "/agent/v1/images/";

/// One thing that agents may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described with its path in protocol::routes")]
pub enum Route {
    Hello,
    Task,
    Progress,
    Cast,
    Verified,
    Erased,
    Rescue,
    Tested,
    TestData,
    Windows,
    Stored,
    Seal,
    Manifest,
    Data,
    Enrol,
    Escrow,
    State,
    Report,
    Ticket,
    Network,
}

impl Route {
    /// Every route. One that is not here is found by no request.
    pub const ALL: [Route; 20] = [
        Route::Hello,
        Route::Task,
        Route::Progress,
        Route::Cast,
        Route::Verified,
        Route::Erased,
        Route::Rescue,
        Route::Tested,
        Route::TestData,
        Route::Windows,
        Route::Stored,
        Route::Seal,
        Route::Manifest,
        Route::Data,
        Route::Enrol,
        Route::Escrow,
        Route::State,
        Route::Report,
        Route::Ticket,
        Route::Network,
    ];

    /// The route of a request, if it is one.
    pub fn of(post: bool, path: &str) -> Option<Route> {
        Route::ALL.into_iter().find(|route| match route.fixed() {
            Some(fixed) => post == (*route != Route::TestData) && path == fixed,
            None => route.names_something(post, path),
        })
    }

    /// The path of a route that names nothing.
    fn fixed(self) -> Option<&'static str> {
        Some(match self {
            Route::Hello => routes::HELLO,
            Route::Task => routes::TASK,
            Route::Progress => routes::PROGRESS,
            Route::Cast => routes::CAST,
            Route::Verified => routes::VERIFIED,
            Route::Erased => routes::ERASED,
            Route::Rescue => routes::RESCUE,
            Route::Tested => routes::TESTED,
            Route::TestData => routes::TEST_DATA,
            Route::Windows => routes::WINDOWS,
            Route::Seal => routes::SEAL,
            Route::Enrol => routes::ENROL,
            Route::Escrow => routes::ESCROW,
            Route::State => routes::STATE,
            Route::Report => routes::REPORT,
            Route::Ticket => routes::TICKET,
            Route::Network => routes::NETWORK,
            Route::Stored | Route::Manifest | Route::Data => return None,
        })
    }

    fn names_something(self, post: bool, path: &str) -> bool {
        let part = |wanted| !post && image(path).is_some_and(|(_, part)| part == wanted);
        match self {
            Route::Stored => post && path.strip_prefix(routes::STORED).and_then(capture::place).is_some(),
            Route::Manifest => part("manifest"),
            Route::Data => part("data"),
            Route::Hello
            | Route::Task
            | Route::Progress
            | Route::Cast
            | Route::Verified
            | Route::Erased
            | Route::Rescue
            | Route::Tested
            | Route::TestData
            | Route::Windows
            | Route::Seal
            | Route::Enrol
            | Route::Escrow
            | Route::State
            | Route::Report
            | Route::Ticket
            | Route::Network => false,
        }
    }
}

/// The image that a path names, and which part of it.
pub(super) fn image(path: &str) -> Option<(Digest, &str)> {
    let (digest, part) = path.strip_prefix(IMAGES)?.split_once('/')?;
    Some((digest.parse().ok()?, part))
}
