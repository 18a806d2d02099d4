//! The address where Prometheus comes for them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet::view::exposition;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Metrics;
use crate::listen::Stop;

/// Connections at once: one or two servers come every few seconds.
const CONNECTIONS: usize = 16;
/// How long headers may take, and a whole connection.
const HEADERS: Duration = Duration::from_secs(10);
const CONNECTION: Duration = Duration::from_secs(120);
/// How long to wait when the address is not there, or nobody can be let in.
const BREATH: Duration = Duration::from_secs(5);
const MOMENT: Duration = Duration::from_millis(100);

/// Serves the figures until told to stop; whoever can reach the address may read them.
pub async fn serve(metrics: Metrics, address: SocketAddr, mut stop: Stop) {
    let metrics = Arc::new(metrics);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::select! {
        _ = stop.changed() => {}
        () = accept(&metrics, address, &room) => {}
    }
}

async fn accept(metrics: &Arc<Metrics>, address: SocketAddr, room: &Arc<Semaphore>) {
    let mut told = false;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(why) if !told => {
                tracing::warn!(%address, %why, "metrics are not served yet");
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(BREATH).await;
    };
    tracing::info!(%address, "metrics are served");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(MOMENT).await;
            continue;
        };
        // One too many is closed at once: it comes again.
        let Ok(seat) = Arc::clone(room).try_acquire_owned() else { continue };
        let metrics = Arc::clone(metrics);
        tokio::spawn(async move {
            drop(tokio::time::timeout(CONNECTION, talk(metrics, stream)).await);
            drop(seat);
        });
    }
}

async fn talk(metrics: Arc<Metrics>, stream: TcpStream) {
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let metrics = Arc::clone(&metrics);
        async move { Ok::<_, Infallible>(answer(&metrics, &request)) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a metrics connection ended early");
    }
}

fn answer(metrics: &Metrics, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, exposition(&metrics.gather())),
        (&Method::GET, _) => (StatusCode::NOT_FOUND, "the figures are at /metrics\n".to_owned()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
