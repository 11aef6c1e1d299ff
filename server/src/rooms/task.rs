//! A task that drives a machine: takes mail for it, and has its outputs carried out.

use nucleus_core::{Machine, Shell, drive, limits};
use nucleus_net::Clock;
use nucleus_protocol::time::Time;
use tokio::sync::mpsc;

/// What surrounds a machine in a task of its own.
pub(super) trait Task {
    /// What is driven.
    type Machine: Machine;
    /// What its mailbox takes: inputs, some with what only the shell needs.
    type Mail;

    /// Makes an input of a mail, and keeps what the outputs will need.
    fn accept(&mut self, mail: Self::Mail) -> <Self::Machine as Machine>::Input;

    /// See [`Shell::carry_out`].
    async fn carry_out(
        &mut self,
        output: <Self::Machine as Machine>::Output,
    ) -> Option<<Self::Machine as Machine>::Input>;

    /// See [`Shell::may_end`]. Called only while the mailbox is empty.
    fn may_end(&mut self) -> bool {
        true
    }
}

/// Runs a machine until it is over and has taken all its mail. Mail that comes in the very moment of the
/// end is dropped, and whoever waits for its answer tries a new task.
pub(super) async fn run<T: Task>(
    mut machine: T::Machine,
    task: T,
    clock: Clock,
    mailbox: mpsc::Receiver<T::Mail>,
) {
    let mut shell = Mailboxed { task, clock, mailbox, mails: Vec::new() };
    drive(&mut machine, &mut shell).await;
    // A sender may have reserved its place already. Dropped as it is, the mailbox would keep what that
    // sender posts for as long as any sender lives, and the one that waits for an answer would wait for
    // ever.
    shell.mailbox.close();
    while shell.mailbox.recv().await.is_some() {}
}

struct Mailboxed<T: Task> {
    task: T,
    clock: Clock,
    mailbox: mpsc::Receiver<T::Mail>,
    mails: Vec<T::Mail>,
}

impl<T: Task> Shell<T::Machine> for Mailboxed<T> {
    fn now(&self) -> Time {
        Time::from_micros(self.clock.now())
    }

    async fn wait(
        &mut self,
        deadline: Option<Time>,
        inputs: &mut Vec<<T::Machine as Machine>::Input>,
    ) -> bool {
        let pause = deadline.map(|at| at.since(self.now()));
        tokio::select! {
            count = self.mailbox.recv_many(&mut self.mails, limits::ROOM_INPUTS_PER_TURN) => {
                if count == 0 {
                    return false;
                }
            }
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
        inputs.extend(self.mails.drain(..).map(|mail| self.task.accept(mail)));
        true
    }

    async fn carry_out(
        &mut self,
        output: <T::Machine as Machine>::Output,
    ) -> Option<<T::Machine as Machine>::Input> {
        self.task.carry_out(output).await
    }

    fn may_end(&mut self) -> bool {
        // Whoever has asked already is answered: else a thousand joins that find no room would meet one
        // ended lobby after the other.
        self.mailbox.is_empty() && self.task.may_end()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    /// Ends with its first input but time.
    struct Once(bool);

    impl Machine for Once {
        type Input = bool;
        type Output = ();
        const TIMEOUT: bool = false;

        fn handle(&mut self, _now: Time, input: bool) {
            self.0 |= input;
        }

        fn poll(&mut self) -> Option<()> {
            None
        }

        fn deadline(&self) -> Option<Time> {
            None
        }

        fn is_over(&self) -> bool {
            self.0
        }
    }

    struct OnceTask;

    impl Task for OnceTask {
        type Machine = Once;
        type Mail = oneshot::Sender<()>;

        fn accept(&mut self, reply: oneshot::Sender<()>) -> bool {
            reply.send(()).is_ok()
        }

        async fn carry_out(&mut self, (): ()) -> Option<bool> {
            None
        }
    }

    #[tokio::test]
    async fn who_is_about_to_post_when_the_machine_ends_is_answered() {
        let (mailbox, receiver) = mpsc::channel(4);
        let running = tokio::spawn(run(Once(false), OnceTask, Clock::new(), receiver));
        let about_to = mailbox.reserve().await.unwrap();
        let (first, answered) = oneshot::channel();
        assert!(mailbox.send(first).await.is_ok());
        assert!(answered.await.is_ok());
        mailbox.closed().await;
        let (late, answer) = oneshot::channel();
        about_to.send(late);
        let answer = tokio::time::timeout(Duration::from_secs(5), answer).await;
        assert!(answer.expect("it waits for ever").is_err(), "the machine is over");
        running.await.unwrap();
    }
}
