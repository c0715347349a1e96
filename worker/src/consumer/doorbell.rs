//! Waits at the doorbells while the consumer is idle, on a connection of its own.

use std::rc::Rc;
use std::time::Duration;

use gristmill_shared::connection::{Link, Timeouts};
use gristmill_shared::defaults::DOORBELL_BLOCK;

use super::io::Io;

const BACKOFF: Duration = Duration::from_millis(300);

/// Reports rings for as long as the process lives. A wait that has begun is never given up: its answer
/// may be a ring, which nobody else would get.
pub async fn listen(io: Rc<Io>, timeouts: Timeouts) {
    let mut link = Link::blocking(io.config.endpoint.clone(), timeouts, DOORBELL_BLOCK);
    loop {
        while !io.idle.get() {
            io.idle_set.notified().await;
        }
        match wait(&io, &mut link).await {
            Ok(false) => {}
            Ok(true) => ring(&io),
            Err(why) => {
                link.lost(&why);
                tokio::time::sleep(BACKOFF).await;
                // A ring may be lost with the connection.
                ring(&io);
            }
        }
    }
}

async fn wait(io: &Io, link: &mut Link) -> Result<bool, String> {
    let connection = link.connection().await.map_err(|error| error.to_string())?;
    let rang = io.broker.wait_doorbell(connection, &io.config.queues, DOORBELL_BLOCK).await;
    rang.map_err(|error| error.to_string())
}

/// Counts a ring. Until the steps have found nothing again nobody waits at the bells: a consumer that is
/// about to work must not take the next ring, too.
fn ring(io: &Io) {
    io.rings.set(io.rings.get() + 1);
    io.idle.set(false);
    io.nudge.notify_one();
}
