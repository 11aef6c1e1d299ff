using System;
using System.IO;
using System.Text;
using System.Threading;
using Nucleus;

/// <summary>A process that is killed, and one that resumes its session: SERVER TOKEN ROOM TICKET_FILE.
/// Resumes the ticket in the file if there is one, and writes its ticket there after each event.</summary>
static class Resume
{
    static void Main(string[] arguments)
    {
        string file = arguments[3];
        var options = new ConnectOptions(arguments[0], arguments[1], arguments[2]);
        if (File.Exists(file))
        {
            options.Ticket = File.ReadAllText(file);
        }
        using (var client = new NucleusClient())
        {
            Room room = client.Connect(options);
            room.On("chat", (from, payload) => Say("event " + Encoding.UTF8.GetString(payload)));
            room.Resumed += isLost => Say("resumed");
            string known = null;
            while (room.Status != SessionStatus.Closed)
            {
                client.Poll();
                if (room.Joined.IsCompleted && !room.Joined.IsFaulted)
                {
                    string ticket = room.Ticket();
                    if (ticket != null && ticket != known)
                    {
                        File.WriteAllText(file, ticket);
                        Say(known == null ? "me " + room.Me.Id : "saved");
                        known = ticket;
                    }
                }
                Thread.Sleep(5);
            }
            Say("closed " + room.CloseReason);
        }
    }

    static void Say(string text)
    {
        Console.WriteLine(text);
        Console.Out.Flush();
    }
}
