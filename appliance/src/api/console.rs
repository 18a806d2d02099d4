//! `POST /v1/nodes/NODE/console`: a request that becomes a serial line in both directions (RFC 9110, section 7.8; frames as in
//! `fleet::power::frame`).

use bytes::Bytes;
use fleet::journal::Actor;
use fleet::power::frame::{Frame, Frames};
use http_body_util::Full;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::broadcast::error::RecvError;

use super::{Answer, Api, ApiError, read};
use crate::power::consoles::{Heard, Seat, Visitor};

/// What the connection becomes.
const PROTOCOL: &str = "rackwright-console";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    read: bool,
    #[serde(default)]
    take: bool,
}

/// The connection of a request that wants to become a console.
pub(super) fn upgrade(request: &mut Request<Incoming>, parts: &[&str]) -> Option<OnUpgrade> {
    let wanted = request.headers().get(UPGRADE).is_some_and(|value| value == PROTOCOL);
    (matches!(parts, ["v1", "nodes", _, "console"]) && wanted).then(|| hyper::upgrade::on(request))
}

impl Api {
    pub(super) async fn console(&self, name: &str, body: &[u8], upgrade: Option<OnUpgrade>) -> Answer {
        let node = self.node(name)?;
        let Wanted { read: only_reads, take } = read(body)?;
        let upgrade = upgrade.ok_or_else(|| {
            ApiError::Body(format!("a console needs a connection that becomes one (Upgrade: {PROTOCOL})"))
        })?;
        let visitor = Visitor { by: self.whom(), types: !only_reads, take: take && !only_reads };
        let (consoles, core) = (self.consoles.clone(), self.core.clone());
        // On its own: whoever asked may hang up before it is open, and then it has to be closed again.
        let seat = tokio::spawn(consoles.seat(core, node, visitor)).await;
        let seat = seat.map_err(|error| ApiError::Broken(error.to_string()))??;
        tokio::spawn(async move {
            if let Ok(connection) = upgrade.await {
                attend(seat, TokioIo::new(connection)).await;
            }
        });
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
        Ok(response)
    }

    /// The name of whoever asks, as another person is told it.
    fn whom(&self) -> String {
        match self.core.actor() {
            Some(Actor::Operator { uid, user, login_user, .. }) => {
                login_user.or(user).unwrap_or_else(|| format!("uid {uid}"))
            }
            Some(Actor::Agent { .. } | Actor::Controller) | None => "somebody".to_owned(),
        }
    }
}

/// Passes frames both ways until one side ends.
async fn attend<C: tokio::io::AsyncRead + tokio::io::AsyncWrite>(mut seat: Seat, connection: C) {
    let (mut from, mut to) = tokio::io::split(connection);
    let (mut came, mut piece) = (Frames::default(), vec![0; 4096]);
    let past = Frame::Bytes(std::mem::take(&mut seat.past));
    if to.write_all(&past.encode()).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            read = from.read(&mut piece) => {
                let Ok(length @ 1..) = read else { return };
                let Ok(frames) = came.take(piece.get(..length).unwrap_or_default()) else { return };
                for frame in frames {
                    match frame {
                        Frame::Bytes(bytes) => seat.types(&bytes).await,
                        Frame::Break => seat.breaks().await,
                        Frame::Note(_) | Frame::End(_) => return,
                    }
                }
            }
            heard = seat.said.recv() => {
                let frame = match heard {
                    Ok(Heard::Bytes(bytes)) => Frame::Bytes(bytes.to_vec()),
                    Ok(Heard::Taken(keyboard, by)) if seat.keyboard == Some(keyboard) => {
                        Frame::End(format!("{by} has taken the console"))
                    }
                    Ok(Heard::Taken(_, by)) => Frame::Note(format!("{by} has the console now")),
                    Ok(Heard::End(why)) => Frame::End(why),
                    Err(RecvError::Lagged(_)) => Frame::Note("some of it was lost: this end is slow".to_owned()),
                    Err(RecvError::Closed) => Frame::End("the controller stops".to_owned()),
                };
                let end = matches!(frame, Frame::End(_));
                if to.write_all(&frame.encode()).await.is_err() || end {
                    drop(to.shutdown().await);
                    return;
                }
            }
        }
    }
}
