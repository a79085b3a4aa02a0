//! The front of the HTTP server: decides what becomes of each request before a route sees it. Requests for names that are
//! not the relay's are refused, WebSockets are handed to libp2p, and plain http is sent to https where there is TLS.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{
        HeaderValue, StatusCode, Uri,
        header::{LOCATION, ORIGIN, UPGRADE},
        uri::PathAndQuery,
    },
    response::{IntoResponse as _, Response},
};
use hyper::{body::Incoming, service::Service as _, upgrade::OnUpgrade};
use hyper_util::service::TowerToHyperService;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use crate::{
    announce::Announced,
    client::{Client, Connection, TrustedProxies},
    http::{HEALTH_PATH, text_response},
    origins::Origins,
    tls::Tls,
    websocket::{SocketSender, UpgradedSocket},
};

/// What decides about requests.
pub(crate) struct Site {
    pub(crate) announced: Announced,
    pub(crate) origins: Origins,
    pub(crate) proxies: TrustedProxies,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) sockets: SocketSender,
    /// The page, and what belongs to it.
    pub(crate) routes: Router,
    /// What plain http gets where there is TLS, if that is not a redirect to https.
    pub(crate) plain_routes: Option<Router>,
}

impl Site {
    /// The response to a request.
    pub(crate) async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Connection,
    ) -> Result<Response, Infallible> {
        let mut request = request.map(Body::new);
        let client = self
            .proxies
            .client(connection, request.uri(), request.headers());
        let certified = self.tls.as_ref().map(|tls| tls.names());
        let certified = certified.as_deref().unwrap_or_default();
        // A load balancer checks the health under any name, and learns nothing else.
        let is_health = request.uri().path() == HEALTH_PATH;
        if !is_health && !self.origins.allows_host(&client, certified) {
            return Ok(text_response(StatusCode::MISDIRECTED_REQUEST, WRONG_HOST));
        }
        if self.tls.is_some() && !client.secure && !client.by_proxy && !is_health {
            return match &self.plain_routes {
                Some(routes) => {
                    request.extensions_mut().insert(client);
                    call(routes, request).await
                }
                None => Ok(redirect_to_https(&client, request.uri())),
            };
        }
        if let Some(rest) = self.announced.strip_prefix(request.uri().path()) {
            if rest.is_empty() {
                return Ok(redirect_below(request.uri()));
            }
            *request.uri_mut() = with_path(request.uri(), rest);
        }
        if request.headers().contains_key(UPGRADE) && request.uri().path() == "/" {
            return Ok(self.upgrade(request, &client, connection));
        }
        request.extensions_mut().insert(client);
        call(&self.routes, request).await
    }

    /// Answers the handshake of a WebSocket, and hands the socket to libp2p.
    fn upgrade(&self, mut request: Request, client: &Client, connection: Connection) -> Response {
        let origin = request.headers().get(ORIGIN).map(HeaderValue::as_bytes);
        if !self.origins.allows_origin(client, origin) {
            return text_response(StatusCode::FORBIDDEN, WRONG_ORIGIN);
        }
        let Ok(response) = create_response_with_body(&request, Body::empty) else {
            return text_response(StatusCode::BAD_REQUEST, BAD_UPGRADE);
        };
        let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
            return text_response(StatusCode::BAD_REQUEST, BAD_UPGRADE);
        };
        let socket = UpgradedSocket {
            upgrade,
            local: connection.local,
            client: client.address,
        };
        self.sockets.send(socket);
        response
    }
}

const WRONG_HOST: &str = "This relay does not know itself by this name. Open it by its IP address, or start it with \
    --announce https://<name> or --allow-origin http://<name>.\n";
const WRONG_ORIGIN: &str = "Only this relay's own page may connect to it. Start it with --allow-origin to allow other pages.\n";
const BAD_UPGRADE: &str = "This is no valid handshake of a WebSocket.\n";

async fn call(routes: &Router, request: Request) -> Result<Response, Infallible> {
    TowerToHyperService::new(routes.clone()).call(request).await
}

/// Sends plain http to the same place by https.
fn redirect_to_https(client: &Client, uri: &Uri) -> Response {
    let Some(authority) = &client.authority else {
        return text_response(StatusCode::BAD_REQUEST, "Use https.\n");
    };
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    redirect(&(authority.as_https() + path))
}

/// Sends a request for an announced path without its slash to the path with it, to which the page's links are relative.
fn redirect_below(uri: &Uri) -> Response {
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    let query = uri
        .query()
        .map_or(String::new(), |query| format!("?{query}"));
    redirect(&format!("{last}/{query}"))
}

fn redirect(to: &str) -> Response {
    match HeaderValue::from_str(to) {
        Ok(location) => (StatusCode::PERMANENT_REDIRECT, [(LOCATION, location)]).into_response(),
        Err(_) => text_response(StatusCode::BAD_REQUEST, "This is no valid path.\n"),
    }
}

/// The same URI with another path.
fn with_path(uri: &Uri, path: &str) -> Uri {
    let query = uri
        .query()
        .map_or(String::new(), |query| format!("?{query}"));
    // A part of a valid path that begins with a slash is one, too.
    format!("{path}{query}")
        .parse()
        .unwrap_or_else(|_| uri.clone())
}
