//! A client of the DevTools protocol: one connection to the browser, any number of sessions over it, raw
//! commands and raw events. It knows no command and loses no event.
//!
//! Why not chromiumoxide: it gives no access to the console of a worker, and drops each message that its
//! generated types do not know, so that a clean console would prove nothing.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::{PATIENCE, host::Host};

/// The largest answer taken, in bytes: a chain of some thousand readings as JSON.
const MAX_MESSAGE_LEN: usize = 64 * 1024 * 1024;

/// A session with one page or worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Session(pub(crate) String);

/// Something the browser says unasked.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// Where it happened; none is the browser itself.
    pub(crate) session: Option<Session>,
    pub(crate) method: String,
    pub(crate) params: Value,
}

/// The connection; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct DevTools {
    commands: mpsc::UnboundedSender<Command>,
}

#[derive(Debug)]
struct Command {
    session: Option<Session>,
    method: String,
    params: Value,
    answer: oneshot::Sender<Value>,
}

type Socket = WebSocketStream<TcpStream>;

impl DevTools {
    /// Connects to a browser, and gives a channel with its events.
    pub(crate) async fn connect(
        url: &str,
        host: &Host,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Event>)> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_LEN))
            .max_frame_size(Some(MAX_MESSAGE_LEN));
        let place = url
            .strip_prefix("ws://")
            .and_then(|rest| rest.split('/').next());
        let place = place.and_then(|place| place.parse().ok());
        let stream = host
            .connect(place.with_context(|| format!("no address in {url}"))?)
            .await?;
        stream.set_nodelay(true)?;
        let connecting = tokio_tungstenite::client_async_with_config(url, stream, Some(config));
        let (socket, _) = timeout(PATIENCE, connecting)
            .await
            .context("Chromium does not answer")??;
        let (commands, orders) = mpsc::unbounded_channel();
        let (news, events) = mpsc::unbounded_channel();
        tokio::spawn(carry(socket, orders, news));
        Ok((Self { commands }, events))
    }

    /// Gives the browser a command, and returns its result.
    pub(crate) async fn call(
        &self,
        session: Option<&Session>,
        method: &str,
        params: Value,
    ) -> Result<Value> {
        let (answer, answered) = oneshot::channel();
        let command = Command {
            session: session.cloned(),
            method: method.to_owned(),
            params,
            answer,
        };
        let sent = self.commands.send(command);
        sent.ok().context("the browser is gone")?;
        // What waits inside the page has a time-out of its own, which is sooner and says more.
        let mut message = timeout(PATIENCE * 3, answered)
            .await
            .with_context(|| format!("Chromium does not answer {method}"))?
            .with_context(|| format!("the browser went away during {method}"))?;
        if let Some(error) = message.get("error") {
            bail!("{method}: {error}");
        }
        Ok(message["result"].take())
    }
}

/// Carries commands out, and answers and events in, until either end is gone.
async fn carry(
    mut socket: Socket,
    mut orders: mpsc::UnboundedReceiver<Command>,
    news: mpsc::UnboundedSender<Event>,
) {
    let mut open: HashMap<u64, oneshot::Sender<Value>> = HashMap::new();
    let mut next_id = 0_u64;
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(Command { session, method, params, answer }) = order else { return };
                next_id += 1;
                let mut message = json!({ "id": next_id, "method": method, "params": params });
                if let Some(Session(id)) = session {
                    message["sessionId"] = id.into();
                }
                open.insert(next_id, answer);
                if socket.send(Message::text(message.to_string())).await.is_err() {
                    return;
                }
            }
            message = socket.next() => {
                let Some(Ok(message)) = message else { return };
                let Message::Text(text) = message else { continue };
                let Ok(mut message) = serde_json::from_str::<Value>(&text) else { return };
                if let Some(id) = message["id"].as_u64() {
                    if let Some(answer) = open.remove(&id) {
                        // Whoever asked may have given up.
                        let _ = answer.send(message);
                    }
                } else {
                    let event = Event {
                        session: message["sessionId"].as_str().map(|id| Session(id.to_owned())),
                        method: message["method"].as_str().unwrap_or_default().to_owned(),
                        params: message["params"].take(),
                    };
                    if news.send(event).is_err() {
                        return;
                    }
                }
            }
        }
    }
}
