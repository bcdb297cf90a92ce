//! Answers every request with a fixed text, and says where: the peer of `cargo xtask bench turn`, which is what a
//! request costs that no agent sees.

use daee_http::{
    Server, ServerLimits,
    axum::{Router, routing::get},
    bind,
};

fn main() {
    let text = std::env::args().nth(1).expect("answer TEXT");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let listener = bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let routes = Router::new().route("/", get(async move || text.clone()));
        let _server = Server::start(listener, routes, ServerLimits::default());
        println!("{{\"endpoint\":\"http://localhost:{port}/\"}}");
        std::future::pending::<()>().await;
    });
}
