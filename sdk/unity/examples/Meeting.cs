using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.Linq;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Nucleus;

/// <summary>
/// One of the programs that do the same in Rust, C, C# and a browser, and check each other in one room.
/// .ci/meeting.py starts them and compares their reports.
///
///     mcs -r:Nucleus.Client.dll Meeting.cs MeetingMemory.cs MeetingReport.cs
///     mono Meeting.exe SERVER TOKEN FILE UNTIL [OTHERS]
///
/// The program works until the unix time UNTIL, in seconds. FILE has what a process needs that continues
/// after this one was killed. OTHERS is how many others come. The report is one line of JSON.
/// </summary>
sealed class Meeting
{
    const int FramesPerSecond = 72;
    const byte Channel = 5;
    const string Method = "double";
    const string Count = "count";
    const double EventEvery = 0.1, AskEvery = 0.25;
    /// <summary>All change the count at the same moments of the server's clock, so that they
    /// conflict.</summary>
    const long ChangeEveryMicroseconds = 200000;
    /// <summary>Seconds before the end at which nothing new is sent or asked.</summary>
    const double Quiet = 4;
    /// <summary>Everybody reports before the first one leaves, because a leave changes the state.</summary>
    const double ReportBefore = 1;
    /// <summary>An error of a shown pose that is counted. Chords between poses of 72 Hz are much
    /// nearer.</summary>
    const double LargeErrorMm = 60;
    /// <summary>A request ends before the report.</summary>
    static readonly TimeSpan AskTimeout = TimeSpan.FromMilliseconds(2900);
    static readonly Stopwatch Watch = Stopwatch.StartNew();

    struct Ask
    {
        internal ulong Expected;
        internal Task<byte[]> Task;
    }

    readonly NucleusClient client;
    readonly int others;
    readonly Room room;
    readonly MeetingMemory memory;
    readonly MeetingReport report = new MeetingReport();
    readonly Random random = new Random();
    readonly Dictionary<uint, string> users = new Dictionary<uint, string>();
    readonly Dictionary<uint, long> shown = new Dictionary<uint, long>();
    readonly List<Ask> asks = new List<Ask>();
    readonly ShownPose[] poses = new ShownPose[8];
    /// <summary>Senders whose next event may come after lost ones.</summary>
    readonly HashSet<string> mayMiss = new HashSet<string>();
    bool isInterrupted;
    Task<ulong> creating, counting;
    double nextEvent, nextAsk;
    long lastChange;

    static int Main(string[] arguments)
    {
        double until = double.Parse(arguments[3], CultureInfo.InvariantCulture);
        MeetingMemory memory = MeetingMemory.Load(arguments[2]);
        memory.Run++;
        // Before the first event, so that no two processes send the events of one run.
        memory.Save();
        using (var client = new NucleusClient())
        {
            var options = new ConnectOptions(arguments[0], arguments[1]) { Ticket = memory.Ticket };
            int others = arguments.Length > 4 ? int.Parse(arguments[4]) : 2;
            return new Meeting(client, client.Connect(options), memory, others).Meet(until);
        }
    }

    Meeting(NucleusClient client, Room room, MeetingMemory memory, int others)
    {
        this.others = others;
        this.client = client;
        this.room = room;
        this.memory = memory;
        room.PeerJoined += peer => users[peer.Id] = peer.User;
        room.EventReceived += TakeEvent;
        room.Interrupted += reason => isInterrupted = true;
        room.Resumed += TakeResumed;
        room.Rejoined += TakeRejoined;
        room.ClockChanged += () => shown.Clear();
        room.Handle(Method, request => Encoding.UTF8.GetBytes(Text(2 * ulong.Parse(request.Text))));
    }

    int Meet(double until)
    {
        bool isReported = false;
        double nextFrame = Now(), lastFrame = nextFrame;
        for (double left = until - UnixTime(); left > 0 || !isReported; left = until - UnixTime())
        {
            report.LongestPause = Math.Max(report.LongestPause, Now() - lastFrame);
            lastFrame = Now();
            Poll();
            if (room.Status == SessionStatus.Closed)
            {
                Console.Error.WriteLine("closed: " + room.CloseReason);
                return 1;
            }
            if (room.Me.Id != 0)
            {
                Vec3 head = Position(room.ServerTimeMicroseconds);
                room.SendPose(new BodyPose(new BodyTransform(head, Quat.Identity)));
                Look();
                if (left > Quiet && !isInterrupted)
                {
                    Send();
                }
            }
            if (left <= ReportBefore && !isReported)
            {
                isReported = true;
                Console.WriteLine(report.ToJson(room, memory, Count));
                Console.Out.Flush();
            }
            // A late frame is left out: two poses of the same moment are useless.
            nextFrame = Math.Max(nextFrame + 1.0 / FramesPerSecond, Now());
            Thread.Sleep((int)((nextFrame - Now()) * 1000 + 0.5));
        }
        room.LeaveAsync();
        while (room.Status != SessionStatus.Closed)
        {
            client.Poll();
            Thread.Sleep(10);
        }
        return 0;
    }

    void Poll()
    {
        bool isFirst = room.Me.Id == 0;
        if (client.Poll() == 0 || room.Status == SessionStatus.Closed || room.Me.Id == 0)
        {
            return;
        }
        if (isFirst)
        {
            Join();
        }
        TakeResults();
        // After the events of the frame were taken: the ticket says which ones.
        memory.Ticket = room.Ticket();
        memory.Save();
    }

    void Join()
    {
        report.IsResumed = room.Me.Id == memory.Peer;
        memory.Peer = room.Me.Id;
        if (!report.IsResumed)
        {
            CreateObject();
        }
    }

    void CreateObject()
    {
        ulong id = room.State.NewObjectId();
        Batch batch = new Batch().Create(id, ObjectOwnership.Take, true);
        creating = room.State.ChangeAsync(batch.Set(Entity.Object(id), "user", room.Me.User));
    }

    void TakeResumed(bool isLost)
    {
        isInterrupted = false;
        report.Gaps += isLost ? 1 : 0;
    }

    /// <summary>The room is a new instance: its peers have new ids, and its state is empty.</summary>
    void TakeRejoined()
    {
        isInterrupted = false;
        report.Rejoined++;
        shown.Clear();
        // Events that were on their way to a server that ended are lost.
        mayMiss.UnionWith(memory.Records.Keys);
        memory.Peer = room.Me.Id;
        memory.Successes = 0;
        CreateObject();
    }

    void TakeEvent(RoomEvent taken)
    {
        if (taken.Channel == Channel)
        {
            string[] words = Encoding.UTF8.GetString(taken.Payload).Split(',');
            string user = users[taken.From];
            bool mayMissSome = mayMiss.Remove(user);
            report.CountEvent(memory, user, long.Parse(words[0]), long.Parse(words[1]), mayMissSome);
        }
    }

    void TakeResults()
    {
        if (counting != null && counting.IsCompleted)
        {
            memory.Successes += counting.IsFaulted ? 0 : 1;
            TakeFailure(counting);
            counting = null;
        }
        if (creating != null && creating.IsCompleted)
        {
            TakeFailure(creating);
            creating = null;
        }
        foreach (Ask ask in asks.Where(ask => ask.Task.IsCompleted))
        {
            report.CountAnswer(ask.Task, Text(ask.Expected));
        }
        asks.RemoveAll(ask => ask.Task.IsCompleted);
    }

    void TakeFailure(Task change)
    {
        if (!change.IsFaulted)
        {
            return;
        }
        var failure = change.Exception.InnerException as NucleusException;
        if (failure != null && failure.Reason == ReasonCode.Conflict)
        {
            report.Conflicts++;
        }
        else
        {
            Console.Error.WriteLine("a change failed: " + change.Exception.InnerException);
            report.ChangeFailures++;
        }
    }

    /// <summary>Compares the shown poses with the truth at the moment that they show.</summary>
    void Look()
    {
        report.Frames++;
        int count = Math.Min(room.ReadPoses(poses), poses.Length);
        for (int i = 0; i < count; i++)
        {
            string user;
            // A pose may be there a moment before its peer is reported.
            if (!users.TryGetValue(poses[i].Peer, out user))
            {
                continue;
            }
            report.CountSeen(user);
            long before;
            shown.TryGetValue(poses[i].Peer, out before);
            report.Backwards += poses[i].ShownMicroseconds < before ? 1 : 0;
            shown[poses[i].Peer] = poses[i].ShownMicroseconds;
            // Where a peer goes while it is not heard is a guess.
            if (poses[i].Certainty == PoseCertainty.Interpolated)
            {
                Compare(poses[i].Pose.Head.Position, poses[i].ShownMicroseconds);
            }
        }
    }

    void Compare(Vec3 at, long microseconds)
    {
        double angle = Angle(microseconds);
        double x = at.X - Math.Cos(angle), y = at.Y - 1.7, z = at.Z - Math.Sin(angle);
        double errorMm = Math.Sqrt(x * x + y * y + z * z) * 1000;
        report.Compared++;
        report.Over60Mm += errorMm > LargeErrorMm ? 1 : 0;
        report.MaxErrorMm = Math.Max(report.MaxErrorMm, errorMm);
    }

    void Send()
    {
        // Everybody is here before the first event, so that nobody misses the number 0.
        if (room.Peers.Count >= others && IsDue(ref nextEvent, EventEvery))
        {
            room.SendEvent(Channel, Encoding.UTF8.GetBytes(memory.Run + "," + report.Sent));
            report.Sent++;
        }
        long change = room.ServerTimeMicroseconds / ChangeEveryMicroseconds;
        if (counting == null && change != lastChange)
        {
            lastChange = change;
            ulong version;
            long next = room.State.Read(Entity.Room, Count, out version).AsInteger + 1;
            Batch batch = new Batch().CompareAndSet(Entity.Room, Count, version, next);
            counting = room.State.ChangeAsync(batch);
        }
        if (room.Peers.Count > 0 && IsDue(ref nextAsk, AskEvery))
        {
            report.Asked++;
            var number = (ulong)random.Next(1000000);
            Peer peer = room.Peers[random.Next(room.Peers.Count)];
            Task<byte[]> task = room.RpcAsync(
                peer.Id, Method, Encoding.UTF8.GetBytes(Text(number)), AskTimeout);
            asks.Add(new Ask { Expected = 2 * number, Task = task });
        }
    }

    /// <summary>Whether something is to be done now. Sets when it is to be done next.</summary>
    static bool IsDue(ref double next, double every)
    {
        double now = Now();
        if (now < next)
        {
            return false;
        }
        next = Math.Max(next + every, now);
        return true;
    }

    /// <summary>Returns where the head is at a moment of the server's clock.</summary>
    static Vec3 Position(long microseconds)
    {
        double angle = Angle(microseconds);
        return new Vec3((float)Math.Cos(angle), 1.7f, (float)Math.Sin(angle));
    }

    static double Angle(long microseconds)
    {
        return microseconds / 1e6 % (2 * Math.PI);
    }

    static string Text(ulong number)
    {
        return number.ToString(CultureInfo.InvariantCulture);
    }

    static double Now()
    {
        return Watch.Elapsed.TotalSeconds;
    }

    static double UnixTime()
    {
        return (DateTime.UtcNow - new DateTime(1970, 1, 1)).TotalSeconds;
    }
}
