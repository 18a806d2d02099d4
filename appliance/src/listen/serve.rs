//! What HTTP and HTTPS share: a listening socket tied to its interface, an accept loop that does not end, and one
//! connection's life within its deadlines.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use super::patient::Patient;
use super::stream::Stream;
use super::supervise::stopped;
use super::{Gate, ListenerState, Stop};

/// Connections that the kernel holds for us.
const BACKLOG: i32 = 1024;
/// How long to wait after accepting failed: most often there are no file descriptors.
const BREATH: Duration = Duration::from_millis(20);
/// After so many failures in a row the socket is made anew.
const FAILURES: u32 = 100;
/// A request's line and headers are not longer, in bytes.
const HEADERS: usize = 16 << 10;
/// How long a connection may still take when the daemon stops.
const PARTING: Duration = Duration::from_secs(5);
/// A peer that vanished is noticed after this much silence.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// A peer that takes nothing of what we send for so long is cut off.
pub(super) const STALLED: Duration = Duration::from_secs(60);

/// A listening socket that takes connections from this interface only.
pub(super) fn listen(interface: &str, address: SocketAddrV4) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::V4(address).into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections. Ends only when the socket is of no use any more.
pub(super) async fn accept(
    listener: &TcpListener,
    state: &ListenerState,
    mut take: impl FnMut(TcpStream, SocketAddr),
) -> io::Error {
    let mut failures = 0;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failures = 0;
                // These make it better, and nothing depends on them.
                let _ = stream.set_nodelay(true);
                let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
                take(stream, peer);
            }
            Err(error) => {
                state.trouble(format!("accepting a connection: {error}"));
                failures += 1;
                if failures == FAILURES {
                    return error;
                }
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// Serves HTTP/1.1 on a connection until it closes, or the daemon stops and its request is answered.
///
/// `quiet` is how long the headers of a request, and the pause before it, may take.
pub(super) async fn converse<IO, Call, Called>(
    io: IO,
    quiet: Duration,
    mut stop: Stop,
    call: Call,
) -> Result<(), hyper::Error>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    Call: Fn(Request<Incoming>) -> Called,
    Called: Future<Output = Response<Stream>>,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(quiet).max_buf_size(HEADERS).auto_date_header(false);
    // GRUB 2.12 knows a length only as `Content-Length`, whatever RFC 9110 §5.1 says of case; a kernel needs one.
    http.title_case_headers(true);
    let service = service_fn(|request| {
        let called = call(request);
        async { Ok::<_, Infallible>(called.await) }
    });
    let mut connection =
        std::pin::pin!(http.serve_connection(TokioIo::new(Patient::new(io, STALLED)), service));
    tokio::select! {
        done = connection.as_mut() => return done,
        () = stopped(&mut stop) => connection.as_mut().graceful_shutdown(),
    }
    tokio::time::timeout(PARTING, connection).await.unwrap_or(Ok(()))
}

/// Waits for connections to end after a stop.
pub(super) async fn drain<Who: Ord + Clone>(gate: &Arc<Gate<Who>>) {
    let empty = async {
        while gate.inside() > 0 {
            tokio::time::sleep(BREATH).await;
        }
    };
    // Those that are left are cut off when the process ends.
    let _ = tokio::time::timeout(PARTING, empty).await;
}
