//! [`SimTask`]: runs one state machine with [`nucleus_core::drive`], the loop that the server uses,
//! but without an async runtime.

use std::cell::{Ref, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use nucleus_core::{Machine, Shell, drive};
use nucleus_protocol::time::Time;

/// The state that the task shares with its shell.
struct TaskState<M: Machine> {
    now: Time,
    mailbox: Vec<M::Input>,
    /// The output that must be carried out next.
    output: Option<M::Output>,
    /// The outcome of the output that was carried out last, until the loop takes it.
    carried_out: Option<Option<M::Input>>,
}

/// A machine and the future that drives it.
///
/// The task does nothing by itself. [`Self::post`] puts an input into its mailbox. [`Self::run`]
/// lets the task run until it waits for the next input or for its deadline.
pub struct SimTask<M: Machine> {
    machine: Rc<RefCell<M>>,
    state: Rc<RefCell<TaskState<M>>>,
    /// `None` after the machine has ended.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl<M: Machine + 'static> SimTask<M> {
    /// Creates a task. The machine's deadline is read at the first run.
    pub fn new(machine: M) -> Self {
        let machine = Rc::new(RefCell::new(machine));
        let state = TaskState { now: Time::ZERO, mailbox: vec![], output: None, carried_out: None };
        let state = Rc::new(RefCell::new(state));
        let (mut shared, mut shell) = (SharedMachine(machine.clone()), SimShell(state.clone()));
        let future = async move { drive(&mut shared, &mut shell).await };
        Self { machine, state, future: Some(Box::pin(future)) }
    }

    /// Borrows the machine. The borrow must be dropped before the next [`Self::run`].
    pub fn machine(&self) -> Ref<'_, M> {
        self.machine.borrow()
    }

    /// Returns true if the loop has ended.
    pub fn is_over(&self) -> bool {
        self.future.is_none()
    }

    /// Puts an input into the mailbox.
    ///
    /// # Errors
    ///
    /// Returns the input if the task has ended.
    pub fn post(&mut self, input: M::Input) -> Result<(), M::Input> {
        if self.is_over() {
            return Err(input);
        }
        self.state.borrow_mut().mailbox.push(input);
        Ok(())
    }

    /// Returns the time at which the task must run: at once if there is an input, else at the
    /// machine's deadline.
    pub fn deadline(&self) -> Option<Time> {
        if self.is_over() {
            return None;
        }
        if !self.state.borrow().mailbox.is_empty() {
            return Some(Time::ZERO);
        }
        self.machine().deadline()
    }

    /// Lets the task run at `now` until it waits. Passes each output to `carry_out`, which may
    /// return its outcome as an input.
    pub fn run(
        &mut self,
        now: Time,
        carry_out: &mut dyn FnMut(Time, M::Output) -> Option<M::Input>,
    ) {
        self.state.borrow_mut().now = now;
        let mut context = Context::from_waker(Waker::noop());
        while let Some(future) = &mut self.future {
            if future.as_mut().poll(&mut context).is_ready() {
                self.future = None;
                return;
            }
            let output = self.state.borrow_mut().output.take();
            let Some(output) = output else { return };
            let outcome = carry_out(now, output);
            self.state.borrow_mut().carried_out = Some(outcome);
        }
    }
}

/// The machine that the loop drives. Each method borrows it for one call only.
struct SharedMachine<M>(Rc<RefCell<M>>);

impl<M: Machine> Machine for SharedMachine<M> {
    type Input = M::Input;
    type Output = M::Output;
    const TIMEOUT: M::Input = M::TIMEOUT;

    fn handle(&mut self, now: Time, input: M::Input) {
        self.0.borrow_mut().handle(now, input);
    }

    fn poll(&mut self) -> Option<M::Output> {
        self.0.borrow_mut().poll()
    }

    fn deadline(&self) -> Option<Time> {
        self.0.borrow().deadline()
    }

    fn is_over(&self) -> bool {
        self.0.borrow().is_over()
    }
}

struct SimShell<M: Machine>(Rc<RefCell<TaskState<M>>>);

impl<M: Machine> Shell<SharedMachine<M>> for SimShell<M> {
    fn now(&self) -> Time {
        self.0.borrow().now
    }

    async fn wait(&mut self, deadline: Option<Time>, inputs: &mut Vec<M::Input>) -> bool {
        std::future::poll_fn(|_| {
            let mut state = self.0.borrow_mut();
            if state.mailbox.is_empty() && deadline.is_none_or(|at| state.now < at) {
                return Poll::Pending;
            }
            inputs.append(&mut state.mailbox);
            Poll::Ready(true)
        })
        .await
    }

    async fn carry_out(&mut self, output: M::Output) -> Option<M::Input> {
        self.0.borrow_mut().output = Some(output);
        std::future::poll_fn(|_| match self.0.borrow_mut().carried_out.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        })
        .await
    }

    fn may_end(&mut self) -> bool {
        self.0.borrow().mailbox.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outputs each number that it receives, and ends after a zero. Its deadline is the last
    /// number, in ms.
    #[derive(Default)]
    struct Echo {
        outputs: Vec<u64>,
        deadline: Option<Time>,
        timeouts: u32,
        over: bool,
    }

    impl Machine for Echo {
        type Input = Option<u64>;
        type Output = u64;
        const TIMEOUT: Option<u64> = None;

        fn handle(&mut self, now: Time, input: Option<u64>) {
            match input {
                None => {
                    self.timeouts += 1;
                    self.deadline = self.deadline.filter(|at| *at > now);
                }
                Some(number) => {
                    self.outputs.push(number);
                    (self.deadline, self.over) = (Some(Time::from_millis(number)), number == 0);
                }
            }
        }

        fn poll(&mut self) -> Option<u64> {
            self.outputs.pop()
        }

        fn deadline(&self) -> Option<Time> {
            self.deadline
        }

        fn is_over(&self) -> bool {
            self.over
        }
    }

    #[test]
    fn it_runs_for_an_input_and_at_its_deadline_and_no_more() {
        let mut task = SimTask::new(Echo::default());
        let mut outputs = Vec::new();
        let mut run = |task: &mut SimTask<Echo>, at| {
            task.run(Time::from_millis(at), &mut |_, number| {
                outputs.push(number);
                // The outcome of 7 is 5.
                (number == 7).then_some(Some(5))
            });
            std::mem::take(&mut outputs)
        };
        assert!(run(&mut task, 1).is_empty());
        task.post(Some(7)).unwrap();
        assert_eq!(run(&mut task, 2), [7, 5]);
        assert_eq!((task.deadline(), task.machine().timeouts), (Some(Time::from_millis(5)), 1));
        assert_eq!((run(&mut task, 4), task.machine().timeouts), (vec![], 1));
        assert_eq!((run(&mut task, 5), task.machine().timeouts), (vec![], 2));
        task.post(Some(0)).unwrap();
        assert_eq!(run(&mut task, 6), [0]);
        assert!(task.is_over() && task.post(Some(1)) == Err(Some(1)));
    }
}
