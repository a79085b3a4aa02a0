//! A client of the Chrome DevTools Protocol: one connection to the browser, any number of sessions over it, raw
//! commands and raw events. It interprets no command and drops no event.
//!
//! Why not chromiumoxide: it gives no access to a worker's console, and it drops every message that its generated types
//! do not know, so a clean console would prove nothing.

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

use super::{host::Host, patience::PATIENCE};

/// The largest response accepted, in bytes: a chain of several thousand readings as JSON.
const MAX_MESSAGE_LEN: usize = 64 * 1024 * 1024;

/// A session with one page or worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Session(pub(crate) String);

/// An event of the browser.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// The session in which it happened; `None` for the browser itself.
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
    respond_to: oneshot::Sender<Value>,
}

type Socket = WebSocketStream<TcpStream>;

impl DevTools {
    /// Connects to a browser. Returns the connection and a channel with its events.
    pub(crate) async fn connect(
        url: &str,
        host: &Host,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Event>)> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_LEN))
            .max_frame_size(Some(MAX_MESSAGE_LEN));
        let address = url
            .strip_prefix("ws://")
            .and_then(|rest| rest.split('/').next());
        let address = address.and_then(|address| address.parse().ok());
        let stream = host
            .connect(address.with_context(|| format!("no address in {url}"))?)
            .await?;
        stream.set_nodelay(true)?;
        let connecting = tokio_tungstenite::client_async_with_config(url, stream, Some(config));
        let (socket, _) = timeout(PATIENCE, connecting)
            .await
            .context("Chromium does not respond")??;
        let (commands, command_receiver) = mpsc::unbounded_channel();
        let (event_sender, events) = mpsc::unbounded_channel();
        tokio::spawn(run_connection(socket, command_receiver, event_sender));
        Ok((Self { commands }, events))
    }

    /// Sends a command and returns its result.
    pub(crate) async fn call(
        &self,
        session: Option<&Session>,
        method: &str,
        params: Value,
    ) -> Result<Value> {
        let (respond_to, response) = oneshot::channel();
        let command = Command {
            session: session.cloned(),
            method: method.to_owned(),
            params,
            respond_to,
        };
        let sent = self.commands.send(command);
        sent.ok().context("the browser has exited")?;
        // Waiting inside the page has its own, shorter timeout, whose error says more.
        let mut message = timeout(PATIENCE * 3, response)
            .await
            .with_context(|| format!("Chromium does not respond to {method}"))?
            .with_context(|| format!("the browser exited during {method}"))?;
        if let Some(error) = message.get("error") {
            bail!("{method}: {error}");
        }
        Ok(message["result"].take())
    }
}

/// Sends commands and receives responses and events until either end is gone.
async fn run_connection(
    mut socket: Socket,
    mut command_receiver: mpsc::UnboundedReceiver<Command>,
    event_sender: mpsc::UnboundedSender<Event>,
) {
    let mut pending: HashMap<u64, oneshot::Sender<Value>> = HashMap::new();
    let mut next_id = 0_u64;
    loop {
        tokio::select! {
            command = command_receiver.recv() => {
                let Some(Command { session, method, params, respond_to }) = command else { return };
                next_id += 1;
                let mut message = json!({ "id": next_id, "method": method, "params": params });
                if let Some(Session(id)) = session {
                    message["sessionId"] = id.into();
                }
                pending.insert(next_id, respond_to);
                if socket.send(Message::text(message.to_string())).await.is_err() {
                    return;
                }
            }
            message = socket.next() => {
                let Some(Ok(message)) = message else { return };
                let Message::Text(text) = message else { continue };
                let Ok(mut message) = serde_json::from_str::<Value>(&text) else { return };
                if let Some(id) = message["id"].as_u64() {
                    if let Some(respond_to) = pending.remove(&id) {
                        // The caller may have given up.
                        let _ = respond_to.send(message);
                    }
                } else {
                    let event = Event {
                        session: message["sessionId"].as_str().map(|id| Session(id.to_owned())),
                        method: message["method"].as_str().unwrap_or_default().to_owned(),
                        params: message["params"].take(),
                    };
                    if event_sender.send(event).is_err() {
                        return;
                    }
                }
            }
        }
    }
}
