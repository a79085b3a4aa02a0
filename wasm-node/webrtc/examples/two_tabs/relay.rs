//! The relay of the example: runs libp2p's circuit relay over WebSocket and serves the page over HTTP, on loopback
//! only. It never sees the messages of the tabs in plain text.

#[cfg(not(target_arch = "wasm32"))]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    native::run().await
}

#[cfg(target_arch = "wasm32")]
fn main() {}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::error::Error;
    use std::net::Ipv4Addr;
    use std::path::PathBuf;

    use axum::Router;
    use axum::http::header::CONTENT_TYPE;
    use axum::response::IntoResponse;
    use axum::routing::get;
    use futures::StreamExt;
    use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
    use libp2p::{SwarmBuilder, identify, noise, ping, relay, yamux};

    #[derive(NetworkBehaviour)]
    struct Behaviour {
        relay: relay::Behaviour,
        identify: identify::Behaviour,
        ping: ping::Behaviour,
    }

    pub(super) async fn run() -> Result<(), Box<dyn Error>> {
        let package = std::env::args().nth(1).map(PathBuf::from);
        let package = package.ok_or("missing argument: the output folder of wasm-bindgen")?;
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(
                Default::default(),
                noise::Config::new,
                yamux::Config::default,
            )?
            .with_websocket(noise::Config::new, yamux::Config::default)
            .await?
            .with_behaviour(|key| Behaviour {
                relay: relay::Behaviour::new(key.public().to_peer_id(), relay::Config::default()),
                identify: identify::Behaviour::new(identify::Config::new(
                    "two-tabs/1".to_owned(),
                    key.public(),
                )),
                ping: ping::Behaviour::default(),
            })?
            .build();
        swarm.listen_on("/ip4/127.0.0.1/tcp/0/ws".parse()?)?;
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        // The relay sends this address to peers with a reservation, which advertise it to others.
        swarm.add_external_address(address.clone());
        let address = format!("{address}/p2p/{}", swarm.local_peer_id());

        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("Open http://{}/", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, site(address, &package)).await });
        loop {
            swarm.select_next_some().await;
        }
    }

    fn site(relay: String, package: &std::path::Path) -> Router {
        let file = |kind: &'static str, name: &str| {
            let path = package.join(name);
            get(move || async move {
                let bytes = tokio::fs::read(path).await.unwrap_or_default();
                ([(CONTENT_TYPE, kind)], bytes).into_response()
            })
        };
        let page = |kind: &'static str, text: &'static str| {
            get(move || async move { ([(CONTENT_TYPE, kind)], text).into_response() })
        };
        Router::new()
            .route(
                "/",
                page("text/html; charset=utf-8", include_str!("index.html")),
            )
            .route("/page.js", page("text/javascript", include_str!("page.js")))
            .route("/relay", get(move || async move { relay }))
            .route("/two_tabs.js", file("text/javascript", "two_tabs.js"))
            .route(
                "/two_tabs_bg.wasm",
                file("application/wasm", "two_tabs_bg.wasm"),
            )
    }
}
