//! Ends the functions' processes when the bench ends, however it ends.
//!
//! `setpriv --pdeathsig` would do it too, but it runs before the function in the same process, and its own start would
//! be counted with every init.

use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::Failure;

/// A process whose group the functions join; it kills its group once it loses touch with us.
pub struct Guard {
    group: i32,
    // Its input is our end of the pipe: the kernel closes it when we are gone.
    _child: Child,
}

impl Guard {
    /// Starts the guard.
    ///
    /// # Errors
    /// When there is no shell.
    pub fn start() -> Result<Self, Failure> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read -r _; kill -s KILL 0"]).process_group(0);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let group = child.id().and_then(|pid| pid.try_into().ok()).ok_or("the guard process ended at once")?;
        Ok(Self { group, _child: child })
    }

    /// The process group to join.
    pub fn group(&self) -> i32 {
        self.group
    }
}
