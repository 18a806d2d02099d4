//! The agents' routes behind the HTTPS listener.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper::{Method, Request, Response, StatusCode};
use pxe::trace::What;

use super::{AgentRefusal, Agents, Answer, Asked, Way};
use crate::listen::https::{AgentService, BODY_LIMIT, Caller, IMAGE_BLOCK, refusal};
use crate::listen::stream::{Stream, json, ranged_pieces, whole};

/// The longest hello, in bytes: nobody has let its sender in. A server with a hundred disks says 40 KiB.
const HELLO_LIMIT: usize = 128 << 10;

impl AgentService for Agents {
    fn body_limit(&self, path: &str) -> usize {
        if path == protocol::routes::HELLO { HELLO_LIMIT } else { BODY_LIMIT }
    }

    fn turned_away(&self, peer: SocketAddr, why: &str) {
        self.core.boots.address(peer.ip(), What::Tls { why: why.into() });
    }

    async fn call(&self, caller: &Caller, request: Request<Bytes>) -> Response<Stream> {
        let (head, body) = request.into_parts();
        let post = head.method == Method::POST;
        if !post && head.method != Method::GET {
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET and POST are answered here", false);
        }
        let path = head.uri.path();
        let way = Way { local: caller.local, peer: caller.peer.ip() };
        let (fingerprint, shown) = (caller.certificate.as_deref(), &*caller.shown);
        let asked = Asked { fingerprint, shown, post, path, body: &body, way };
        match self.answer(&asked).await {
            Ok(Answer::Json(bytes)) => json(StatusCode::OK, bytes),
            Ok(Answer::Bytes(bytes)) => whole(bytes),
            Ok(Answer::Data(stored, node)) => {
                let length = stored.manifest.data_bytes();
                let pieces = |range| self.images.pieces(&stored, range).map_err(AgentRefusal::from);
                let sent = self.casts.fetched(stored.manifest.digest());
                let turn = self.casts.turns(caller.local).of(node).counted(sent);
                ranged_pieces(length, &head.headers, IMAGE_BLOCK, pieces)
                    .map(|response| response.map(|data| data.in_turn(turn)))
                    .unwrap_or_else(|error| refuse(caller, path, &error))
            }
            Err(error) => refuse(caller, path, &error),
        }
    }
}

fn refuse(caller: &Caller, path: &str, error: &AgentRefusal) -> Response<Stream> {
    let (status, retry) = error.status();
    if let AgentRefusal::NotYet(why) = error {
        // It asks every second until it has its turn.
        tracing::debug!(peer = %caller.peer, path, why, "an agent waits");
        return refusal(StatusCode::SERVICE_UNAVAILABLE, why, retry);
    }
    tracing::warn!(peer = %caller.peer, path, status, why = %error, "an agent was refused");
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let refusal = protocol::Refusal { error: error.to_string(), retry, renew: error.renew() };
    // Plain fields: this cannot fail.
    json(status, serde_json::to_vec(&refusal).unwrap_or_default())
}
