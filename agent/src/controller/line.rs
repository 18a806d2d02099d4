//! A line to the controller: a connection that is opened when it is needed and again after it broke.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Backoff;
use crate::controller::{CallError, Connection, Controller};
use crate::keys;

/// One line for one purpose: calls on it wait for each other.
#[derive(Debug)]
pub struct Line {
    controller: Controller,
    connection: Option<Connection>,
    backoff: Backoff,
}

impl Line {
    /// A line that is not open yet.
    pub fn new(controller: Controller) -> Self {
        Self { controller, connection: None, backoff: Backoff::default() }
    }

    /// [`Connection::call`], on a connection that is opened first where there is none.
    ///
    /// # Errors
    /// [`CallError`]. The connection is closed when it can't be used again.
    pub async fn call<A, R>(&mut self, route: &str, ask: &A, deadline: Duration) -> Result<R, CallError>
    where
        A: Serialize + Sync,
        R: DeserializeOwned,
    {
        let mut connection = self.take().await?;
        let result = connection.call(route, ask, deadline).await;
        self.settle(connection, result)
    }

    /// [`Connection::get`], on a connection that is opened first where there is none.
    ///
    /// # Errors
    /// [`CallError`]. The connection is closed when it can't be used again.
    pub async fn get(
        &mut self,
        route: &str,
        range: Option<(u64, usize)>,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let mut connection = self.take().await?;
        let result = connection.get(route, range, deadline).await;
        self.settle(connection, result)
    }

    /// [`Connection::put`], on a connection that is opened first where there is none.
    ///
    /// # Errors
    /// [`CallError`]. The connection is closed when it can't be used again.
    pub async fn put(&mut self, route: &str, bytes: Bytes, deadline: Duration) -> Result<(), CallError> {
        let mut connection = self.take().await?;
        let result = connection.put(route, bytes, deadline).await;
        self.settle(connection, result)
    }

    /// [`Line::call`] until the controller answers yes or a final no. `trouble` is told about everything else, with
    /// the wait that follows.
    ///
    /// # Errors
    /// [`CallError::Refused`] that does not invite another try; nothing else.
    pub async fn insist<A, R>(
        &mut self,
        route: &str,
        ask: &A,
        deadline: Duration,
        mut trouble: impl FnMut(&CallError, Duration),
    ) -> Result<R, CallError>
    where
        A: Serialize + Sync,
        R: DeserializeOwned,
    {
        loop {
            match self.call(route, ask, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_refusal() => return Err(error),
                Err(error) => {
                    let wait = self.pause();
                    trouble(&error, wait);
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// How long to wait after a failure: longer each time, short again after a success.
    pub fn pause(&mut self) -> Duration {
        self.backoff.wait(keys::dice())
    }

    async fn take(&mut self) -> Result<Connection, CallError> {
        match self.connection.take() {
            // A kept connection may have been closed by a controller that restarted.
            Some(connection) if !connection.is_closed() => Ok(connection),
            Some(_) | None => Connection::open(&self.controller).await,
        }
    }

    fn settle<R>(&mut self, connection: Connection, result: Result<R, CallError>) -> Result<R, CallError> {
        match &result {
            Ok(_) => {
                self.backoff.reset();
                self.connection = Some(connection);
            }
            Err(error) if error.keeps_connection() => self.connection = Some(connection),
            Err(_) => {}
        }
        result
    }
}
