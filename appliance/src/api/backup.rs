//! Backups: the recovery kit, and the sealed bytes as they are made.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use fleet::view::backup::KitView;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::{Request, Response};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::permission::{Person, permit};
use super::{Answer, Api, ApiError, one, read};
use crate::backup::{BackupError, Kit, KitError, make};
use crate::journal::Peer;
use crate::writer::now;

/// The route of the bytes: the only one whose answer is no JSON.
pub(super) const ROUTE: &str = "/v1/backup";
/// Pieces that wait for whoever reads them.
const AHEAD: usize = 8;

/// What the control socket answers with.
pub(super) type Reply = Response<Either<Full<Bytes>, Pieces>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MakeKit {
    /// The site's name, to replace the kit that there is.
    replace: Option<String>,
}

/// A body that comes piece by piece; an error breaks it off.
#[derive(Debug)]
pub(super) struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// Where a backup is written to while it is sent.
struct Pipe(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Api {
    /// Any request: all but one are answered with JSON.
    pub(super) async fn reply(&self, request: Request<Incoming>, peer: &Peer, person: &Person) -> Reply {
        if request.uri().path() == ROUTE && *request.method() == hyper::Method::POST {
            let api = self.on_behalf(peer, ROUTE, &[]);
            let permitted = permit(person, &self.operators, false, &["v1", "backup"]);
            match permitted.and_then(|()| api.begin_backup()) {
                Ok(pieces) => match api.core.commanded(None).await {
                    Ok(()) => return Response::new(Either::Right(pieces)),
                    Err(unsaved) => return super::refusal(&unsaved.into()).map(Either::Left),
                },
                Err(why) => {
                    let answer = api.settle(Err(why)).await;
                    return answer.unwrap_or_else(|error| super::refusal(&error)).map(Either::Left);
                }
            }
        }
        self.respond(request, peer, person).await.map(Either::Left)
    }

    /// Begins to make a backup. What goes wrong on the way breaks the body off: what was received then is no backup.
    fn begin_backup(&self) -> Result<Pieces, ApiError> {
        let kit = Kit::stored(&self.sources.kit()).map_err(BackupError::from)?.ok_or(BackupError::NoKit)?;
        let (pipe, pieces) = mpsc::channel(AHEAD);
        let sources = self.sources.clone();
        tokio::task::spawn_blocking(move || {
            let out = io::BufWriter::with_capacity(1 << 16, Pipe(pipe.clone()));
            if let Err(error) = make(&sources, &kit, out, now()) {
                let why = crate::chain(&error);
                tracing::warn!(why, "a backup was broken off");
                drop(pipe.blocking_send(Err(io::Error::other(why))));
            }
        });
        Ok(Pieces(pieces))
    }

    /// Makes the kit, once; it is told in this answer and never again.
    pub(super) async fn make_kit(&self, body: &[u8]) -> Answer {
        let MakeKit { replace } = read(body)?;
        let path = self.sources.kit();
        let known = Kit::stored(&path).map_err(BackupError::from)?;
        let site = &self.sources.site;
        if let Some(known) = &known
            && replace.as_ref() != Some(site)
        {
            return Err(ApiError::Kit { kit: known.name(), site: site.clone() });
        }
        let kit = Kit::new().map_err(BackupError::from)?;
        // Written down first: once it is in force nothing may keep its page from whoever asked for it.
        let body = json!({"change": "made", "kit": kit.name(), "instead": known.map(|known| known.name())});
        self.core.note("backup", body).await?;
        if let Err(source) = kit.store(&path)
            // It may be in its place although its folder could not be synced.
            && Kit::stored(&path).ok().flatten().as_ref() != Some(&kit)
        {
            let body = json!({"change": "not kept", "kit": kit.name()});
            drop(self.core.note("backup", body).await);
            return Err(BackupError::File { what: "writing", path, source }.into());
        }
        let made = now().to_string();
        one(KitView {
            kit: kit.name(),
            made: Some(made.clone()),
            page: kit.page(site, &made).lines().map(str::to_owned).collect(),
        })
    }

    /// Which kit opens the backups that are made now.
    pub(super) fn kit(&self) -> Answer {
        let kit = Kit::stored(&self.sources.kit()).map_err(BackupError::from)?.ok_or(BackupError::NoKit)?;
        one(KitView { kit: kit.name(), made: None, page: Vec::new() })
    }
}

impl From<KitError> for ApiError {
    fn from(error: KitError) -> Self {
        ApiError::Backup(error.into())
    }
}
