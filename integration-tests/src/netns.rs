//! Machines of our own: network namespaces with a switch between them, each with a host name. Needs root.
//!
//! Everything hangs on the namespaces: devices and addresses go with them, and whatever still runs in one is
//! known by it. A run that was killed leaves its namespaces and a lock file that nobody holds; the next
//! run removes both.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{self, Signal};
use nix::unistd::{Pid, Uid};

use crate::wait;

/// Lock files: one per network, and one for those who look at the others. Only root can write here.
const LOCKS: &str = "/run/gristmill-netns";
const GATE: &str = "gate";
/// Where `ip netns` keeps its namespaces.
const NAMESPACES: &str = "/run/netns";
const REMEDY: &str = "these tests need root, CAP_NET_ADMIN and CAP_SYS_ADMIN, and iproute2 (.ci/tools installs it)";

/// Machines on one switch. Dropping it ends what still runs on them and removes them.
#[derive(Debug)]
pub struct Network {
    prefix: String,
    lock: PathBuf,
    /// Held, not read: whose lock it is lives.
    _held: File,
    machines: Vec<Machine>,
}

/// One of the machines.
#[derive(Debug, Clone)]
pub struct Machine {
    namespace: String,
    host: String,
    address: String,
    /// The namespace with the switch, and the port there that leads to this machine. The first machine has
    /// the switch inside.
    port: Option<(String, String)>,
}

impl Network {
    /// Machines with these host names, the first with the switch inside. None, and a line that says so, where
    /// we are not root: nobody else can make them.
    ///
    /// # Panics
    /// As root, if they cannot be made.
    pub fn new(hosts: &[&str]) -> Option<Self> {
        if !Uid::effective().is_root() {
            println!("skipped: {REMEDY}");
            return None;
        }
        let gate = lock(GATE);
        sweep();
        let prefix = format!("gm{:x}", rand::random::<u32>());
        let path = Path::new(LOCKS).join(&prefix);
        let held = lock(&prefix);
        drop(gate);
        let mut network = Self { prefix, lock: path, _held: held, machines: Vec::new() };
        for (number, host) in (1..).zip(hosts) {
            network.add(number, host);
        }
        Some(network)
    }

    /// The machine of this name.
    pub fn machine(&self, host: &str) -> &Machine {
        self.machines.iter().find(|machine| machine.host == host).expect("one of the machines that were made")
    }

    fn add(&mut self, number: u8, host: &str) {
        let namespace = format!("{}-{host}", self.prefix);
        let address = format!("10.77.0.{number}");
        ip(&format!("netns add {namespace}"));
        ip(&format!("-n {namespace} link set lo up"));
        let hub = self.machines.first().map_or(&namespace, |first| &first.namespace).clone();
        let port = (hub != namespace).then(|| (hub, format!("port{number}")));
        let card = match &port {
            None => {
                ip(&format!("-n {namespace} link add switch type bridge"));
                "switch"
            }
            Some((hub, port)) => {
                ip(&format!("-n {hub} link add {port} type veth peer name eth0 netns {namespace}"));
                ip(&format!("-n {hub} link set {port} master switch up"));
                "eth0"
            }
        };
        ip(&format!("-n {namespace} address add {address}/24 dev {card}"));
        ip(&format!("-n {namespace} link set {card} up"));
        self.machines.push(Machine { namespace, host: host.to_owned(), address, port });
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        remove(&self.prefix);
        // Swept by the next run if it stays.
        let _ = fs::remove_file(&self.lock);
    }
}

impl Machine {
    /// Its address on the switch.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its host name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What stands before a program and its arguments to run it on this machine. It ends with the thread
    /// that starts it.
    pub fn launcher(&self) -> Vec<OsString> {
        let net = format!("--net={NAMESPACES}/{}", self.namespace);
        let named = r#"echo "$0" >/proc/sys/kernel/hostname && exec setpriv --pdeathsig KILL "$@""#;
        ["nsenter", &net, "unshare", "--uts", "sh", "-c", named, &self.host].map(OsString::from).into()
    }

    /// A program on this machine.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let launcher = self.launcher();
        let mut command = Command::new(&launcher[0]);
        command.args(&launcher[1..]).arg(program);
        command
    }

    /// Pulls the plug: nothing comes in, nothing goes out, and nobody is told.
    pub fn unplug(&self) {
        self.set_port("down");
    }

    /// Puts it back.
    pub fn plug(&self) {
        self.set_port("up");
    }

    fn set_port(&self, state: &str) {
        let (hub, port) = self.port.as_ref().expect("any machine but the one with the switch");
        ip(&format!("-n {hub} link set {port} {state}"));
    }
}

/// Removes what runs that were killed have left. The caller holds the gate, so that nobody is about to lock
/// a file that is there already.
fn sweep() {
    for entry in fs::read_dir(LOCKS).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let abandoned = name != GATE && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if abandoned {
            remove(&name);
            // Left for the next sweep if it stays.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Ends what runs in the namespaces of a network and deletes them.
fn remove(prefix: &str) {
    let entries = fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    for name in names.filter(|name| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-'))) {
        // The namespace is ours alone, and so is everything in it.
        let gone = wait::poll(wait::DEADLINE, || {
            let pids = running(&name);
            for &pid in &pids {
                // It may end at this moment.
                let _ = signal::kill(pid, Signal::SIGKILL);
            }
            pids.is_empty().then_some(())
        });
        let deleted = try_ip(&format!("netns delete {name}"));
        if gone.is_none() || deleted.is_err() {
            eprintln!("the network namespace {name} is left over: {deleted:?}");
        }
    }
}

/// Whatever runs in a namespace.
fn running(namespace: &str) -> Vec<Pid> {
    let pids = try_ip(&format!("netns pids {namespace}")).unwrap_or_default();
    pids.lines().filter_map(|pid| pid.trim().parse().ok()).map(Pid::from_raw).collect()
}

fn lock(name: &str) -> File {
    fs::create_dir_all(LOCKS).expect("root can write to /run");
    let path = Path::new(LOCKS).join(name);
    let file = File::options().create(true).truncate(false).write(true).open(path).expect("root can write to /run");
    file.lock().expect("a lock of this machine");
    file
}

fn ip(words: &str) {
    try_ip(words).unwrap_or_else(|why| panic!("{why}; {REMEDY}"));
}

fn try_ip(words: &str) -> Result<String, String> {
    let output =
        Command::new("ip").args(words.split(' ')).output().map_err(|error| format!("cannot run ip: {error}"))?;
    if !output.status.success() {
        return Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pids::Process;

    fn namespaces(network: &Network) -> bool {
        network.machines.iter().all(|machine| Path::new(NAMESPACES).join(&machine.namespace).exists())
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_what_lives_is_not() {
        let Some(left) = Network::new(&["left"]) else { return };
        let mut sleeper = left.machine("left").command("sleep").arg("3600").spawn().unwrap();
        let process = Process::now(sleeper.id() as i32).unwrap();
        wait::eventually("it is on its machine", || {
            running(&left.machines[0].namespace).iter().any(|pid| pid.as_raw() == process.pid).then_some(())
        });
        let living = Network::new(&["living"]).unwrap();
        assert!(namespaces(&left) && process.is_alive());
        // As the system does when a process is killed.
        left._held.unlock().unwrap();
        let next = Network::new(&["next"]).unwrap();
        assert!(!namespaces(&left) && !left.lock.exists(), "nobody holds its lock");
        sleeper.wait().unwrap();
        assert!(namespaces(&living) && namespaces(&next));
        assert_eq!(living.machine("living").host(), "living");
    }
}
