//! The driving contract of the state machines, and the one loop that runs them.

use nucleus_protocol::time::Time;

/// A state machine of the server. It takes inputs with their times, and produces outputs.
pub trait Machine {
    /// The inputs that the machine takes.
    type Input;
    /// The outputs that the machine produces, for a [`Shell`] to carry out.
    type Output;
    /// The input that says only that time has passed.
    const TIMEOUT: Self::Input;

    /// Takes an input at `now`. Times must not run backwards.
    fn handle(&mut self, now: Time, input: Self::Input);

    /// Returns the next output; `None` if there is none. The caller must carry out the outputs in
    /// this order.
    fn poll(&mut self) -> Option<Self::Output>;

    /// Returns the time at which the machine needs [`Self::TIMEOUT`] unless another input comes
    /// first; `None` if it needs no call before the next input.
    fn deadline(&self) -> Option<Time>;

    /// Returns true if the machine has nothing left to do. The caller may drop the machine once all
    /// outputs are carried out.
    fn is_over(&self) -> bool;
}

/// The environment of a machine: its mailbox, its clock, and the receivers of its outputs.
#[expect(async_fn_in_trait, reason = "a task needs Send futures, a simulation can't have them")]
pub trait Shell<M: Machine> {
    /// Returns the current time.
    fn now(&self) -> Time;

    /// Waits for inputs or for `deadline`, whichever comes first, and appends the inputs to
    /// `inputs`. Returns false if no input can come any more; the loop then ends.
    async fn wait(&mut self, deadline: Option<Time>, inputs: &mut Vec<M::Input>) -> bool;

    /// Carries out an output. Returns its outcome as an input if the machine waits for one.
    async fn carry_out(&mut self, output: M::Output) -> Option<M::Input>;

    /// Decides whether the loop may end now that the machine is over. The loop goes on if this
    /// returns false, for example because the mailbox still holds inputs.
    fn may_end(&mut self) -> bool {
        true
    }
}

/// Runs a machine until it is over.
pub async fn drive<M: Machine>(machine: &mut M, shell: &mut impl Shell<M>) {
    let mut inputs = Vec::new();
    while shell.wait(machine.deadline(), &mut inputs).await {
        // Carries out all outputs of an input before it takes the next input. So the machine never
        // queues the outputs of two inputs.
        for input in inputs.drain(..).chain([M::TIMEOUT]) {
            machine.handle(shell.now(), input);
            while let Some(output) = machine.poll() {
                if let Some(outcome) = shell.carry_out(output).await {
                    machine.handle(shell.now(), outcome);
                }
            }
        }
        if machine.is_over() && shell.may_end() {
            return;
        }
    }
}
