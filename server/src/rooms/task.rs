//! The loop of a task that drives a machine: takes mail from a mailbox and carries out the outputs.

use nucleus_core::{Machine, Shell, drive, limits};
use nucleus_net::Clock;
use nucleus_protocol::time::Time;
use tokio::sync::mpsc;

/// The shell of a machine that runs in a task.
pub(super) trait Task {
    /// The machine.
    type Machine: Machine;
    /// A message of the mailbox: an input, and what only the shell needs, such as a reply channel.
    type Mail;

    /// Begins a turn at `now`: the inputs that have arrived, and their outputs. Called before the
    /// inputs are accepted.
    fn begin_turn(&mut self, _now: Time) {}

    /// Continues a turn at `now`, after other tasks have run.
    fn continue_turn(&mut self, _now: Time) {}

    /// Makes an input of a message, and keeps what the outputs will need.
    fn accept(&mut self, mail: Self::Mail) -> <Self::Machine as Machine>::Input;

    /// Carries out an output, as [`Shell::carry_out`] does.
    async fn carry_out(
        &mut self,
        output: <Self::Machine as Machine>::Output,
    ) -> Option<<Self::Machine as Machine>::Input>;

    /// Whether the task may end, as [`Shell::may_end`]. Called only while the mailbox is empty.
    fn may_end(&mut self) -> bool {
        true
    }
}

/// Runs a machine until it is over and its mailbox is empty. Mail that arrives at the moment of the
/// end is dropped; its sender, if it waits for a reply, tries a new task.
pub(super) async fn run<T: Task>(
    mut machine: T::Machine,
    task: T,
    clock: Clock,
    mailbox: mpsc::Receiver<T::Mail>,
) {
    let mut shell = MailboxShell { task, clock, mailbox, mails: Vec::new(), carried_out: 0 };
    drive(&mut machine, &mut shell).await;
    // A sender may have reserved a slot already. If the mailbox were dropped without this, it would
    // keep that sender's mail as long as any sender exists, and the sender would wait for its reply
    // for ever.
    shell.mailbox.close();
    while shell.mailbox.recv().await.is_some() {}
}

/// A task's shell with its clock and mailbox.
struct MailboxShell<T: Task> {
    task: T,
    clock: Clock,
    mailbox: mpsc::Receiver<T::Mail>,
    mails: Vec<T::Mail>,
    /// Outputs carried out since this task last let others run.
    carried_out: usize,
}

impl<T: Task> Shell<T::Machine> for MailboxShell<T> {
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
        self.carried_out = 0;
        self.task.begin_turn(self.now());
        inputs.extend(self.mails.drain(..).map(|mail| self.task.accept(mail)));
        true
    }

    async fn carry_out(
        &mut self,
        output: <T::Machine as Machine>::Output,
    ) -> Option<<T::Machine as Machine>::Input> {
        // tokio lets a task run until it waits. Without this pause, one event in a large room would
        // hold up every other room and session of the thread.
        if self.carried_out == limits::OUTPUTS_PER_TURN {
            self.carried_out = 0;
            tokio::task::yield_now().await;
            self.task.continue_turn(self.now());
        }
        self.carried_out += 1;
        self.task.carry_out(output).await
    }

    fn may_end(&mut self) -> bool {
        // The task answers the requests in its mailbox before it ends. Otherwise each of a thousand
        // joins that find no room could reach another lobby that has just ended, and try again.
        self.mailbox.is_empty() && self.task.may_end()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    /// Is over after its first input other than the time-out.
    struct OneShot(bool);

    impl Machine for OneShot {
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

    struct OneShotTask;

    impl Task for OneShotTask {
        type Machine = OneShot;
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
        let running = tokio::spawn(run(OneShot(false), OneShotTask, Clock::new(), receiver));
        let reserved = mailbox.reserve().await.unwrap();
        let (first, answered) = oneshot::channel();
        assert!(mailbox.send(first).await.is_ok());
        assert!(answered.await.is_ok());
        mailbox.closed().await;
        let (late, answer) = oneshot::channel();
        reserved.send(late);
        let answer = tokio::time::timeout(Duration::from_secs(5), answer).await;
        assert!(answer.expect("the sender waits for ever").is_err(), "the machine is over");
        running.await.unwrap();
    }

    /// Has a thousand outputs for its first input, as an event in a large room.
    struct ManyOutputs(usize);

    impl Machine for ManyOutputs {
        type Input = bool;
        type Output = ();
        const TIMEOUT: bool = false;

        fn handle(&mut self, _now: Time, input: bool) {
            self.0 = if input { 1_000 } else { self.0 };
        }

        fn poll(&mut self) -> Option<()> {
            self.0 = self.0.checked_sub(1)?;
            Some(())
        }

        fn deadline(&self) -> Option<Time> {
            None
        }

        fn is_over(&self) -> bool {
            false
        }
    }

    /// Counts the outputs since another task of the thread ran.
    struct ManyOutputsTask {
        others_ran: std::rc::Rc<std::cell::Cell<bool>>,
        in_a_row: usize,
        longest: std::rc::Rc<std::cell::Cell<usize>>,
    }

    impl Task for ManyOutputsTask {
        type Machine = ManyOutputs;
        type Mail = ();

        fn accept(&mut self, (): ()) -> bool {
            true
        }

        async fn carry_out(&mut self, (): ()) -> Option<bool> {
            self.in_a_row = if self.others_ran.take() { 1 } else { self.in_a_row + 1 };
            self.longest.set(self.longest.get().max(self.in_a_row));
            None
        }
    }

    #[tokio::test]
    async fn other_tasks_run_between_the_outputs_of_one_input() {
        let (mailbox, receiver) = mpsc::channel(4);
        let (others_ran, longest) = (std::rc::Rc::default(), std::rc::Rc::default());
        let task = ManyOutputsTask {
            others_ran: std::rc::Rc::clone(&others_ran),
            in_a_row: 0,
            longest: std::rc::Rc::clone(&longest),
        };
        mailbox.send(()).await.unwrap();
        let other = async {
            for _ in 0..200 {
                others_ran.set(true);
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            // Polled first each time that this task runs.
            biased;
            () = other => {}
            () = run(ManyOutputs(0), task, Clock::new(), receiver) => {}
        }
        assert_eq!(longest.get(), limits::OUTPUTS_PER_TURN);
    }
}
