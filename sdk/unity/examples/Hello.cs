using System;
using System.Diagnostics;
using System.Threading;
using Nucleus;

/// <summary>
/// A whole program: joins a room, moves in a circle, and prints where the others are.
///
///     mcs -r:Nucleus.Client.dll Hello.cs
///     LD_LIBRARY_PATH=DIRECTORY_OF_LIBNUCLEUS mono Hello.exe 127.0.0.1:5055 TOKEN [SECONDS]
/// </summary>
static class Hello
{
    const int FramesPerSecond = 60;

    static int Main(string[] arguments)
    {
        if (arguments.Length < 2)
        {
            Console.Error.WriteLine("usage: Hello SERVER TOKEN [SECONDS]");
            return 2;
        }
        double seconds = arguments.Length > 2 ? double.Parse(arguments[2]) : 60;
        using (var client = new NucleusClient())
        {
            Room room = client.Connect(new ConnectOptions(arguments[0], arguments[1], "demo"));
            room.PeerJoined += peer => Console.WriteLine(peer.Name + " is here");
            room.PeerLeft += (peer, reason) => Console.WriteLine(peer.Name + " has left");
            room.Interrupted += reason => Console.WriteLine("connection lost: " + reason);
            room.Resumed += isLost => Console.WriteLine("connection is back");
            room.On("chat", (from, payload) => Console.WriteLine("a chat of " + payload.Length + " bytes"));

            var poses = new ShownPose[64];
            var watch = Stopwatch.StartNew();
            double nextPrint = 1;
            while (watch.Elapsed.TotalSeconds < seconds && room.Status != SessionStatus.Closed)
            {
                // Raises all events. An engine calls it once a frame.
                client.Poll();
                if (room.Status == SessionStatus.Connected)
                {
                    double now = watch.Elapsed.TotalSeconds;
                    room.SendPose(InACircle(now));
                    int count = room.ReadPoses(poses);
                    if (now >= nextPrint)
                    {
                        nextPrint = now + 1;
                        Print(room, poses, count);
                        room.Send("chat", "still here");
                    }
                }
                Thread.Sleep(1000 / FramesPerSecond);
            }
            if (room.Status == SessionStatus.Closed)
            {
                Console.WriteLine("the room is closed: " + room.CloseReason);
                return 1;
            }
            // The goodbye needs a moment. A program that ends without it is shown as away for a while.
            room.LeaveAsync();
            while (room.Status != SessionStatus.Closed)
            {
                client.Poll();
                Thread.Sleep(10);
            }
            return 0;
        }
    }

    /// <summary>One metre around the origin, at the height of a head. The room is right-handed: y is up, -z is
    /// forward.</summary>
    static BodyPose InACircle(double seconds)
    {
        var position = new Vec3((float)Math.Cos(seconds), 1.6f, (float)Math.Sin(seconds));
        return new BodyPose(new BodyTransform(position, Quat.Identity));
    }

    static void Print(Room room, ShownPose[] poses, int count)
    {
        for (int i = 0; i < count; i++)
        {
            Peer peer;
            string name = room.TryGetPeer(poses[i].Peer, out peer) ? peer.Name : "somebody";
            Console.WriteLine(name + " is at " + poses[i].Pose.Head.Position);
        }
    }
}
