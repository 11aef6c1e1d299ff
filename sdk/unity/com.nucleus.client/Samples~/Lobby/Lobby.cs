using System;
using System.Threading.Tasks;
using Nucleus;
using Nucleus.Unity;
using UnityEngine;

/// <summary>A lobby: lists the rooms, joins one or makes a new one, and shows who is online.</summary>
public sealed class Lobby : MonoBehaviour
{
    public NucleusSession session;
    public string version = "1";
    public string[] watchedRoles = { "member" };

    SocialSession social;
    Call ringing;
    string problem = "";

    /// <summary>The social session; null until it is open.</summary>
    public SocialSession Social
    {
        get { return social; }
    }

    async void Start()
    {
        try
        {
            var options = new EnterOptions(session.server, session.token);
            social = await NucleusRuntime.Client.EnterAsync(options);
            social.IncomingCall += call =>
            {
                ringing = call;
                call.Ended += reason => ringing = null;
                call.Accepted += JoinRoom;
            };
            await social.WatchRoomsAsync(version);
            await social.WatchUsersAsync(watchedRoles);
        }
        catch (Exception exception)
        {
            problem = exception.Message;
        }
    }

    void OnDestroy()
    {
        social?.Dispose();
    }

    void OnGUI()
    {
        if (problem != "")
        {
            GUILayout.Label(problem);
        }
        if (social == null)
        {
            return;
        }
        if (ringing != null)
        {
            GUILayout.Label(ringing.From + " calls: " + ringing.Text);
            if (GUILayout.Button("Accept"))
            {
                Show(ringing.AcceptAsync());
                ringing = null;
            }
        }
        if (session.IsJoined)
        {
            GUILayout.Label("in " + session.Room.Name + " with " + session.Room.Peers.Count + " others");
            if (GUILayout.Button("Leave"))
            {
                session.Leave();
            }
            return;
        }
        foreach (ListedRoom room in social.Rooms.Values)
        {
            string text = room.Name + " (" + room.PeerCount + " of " + room.Capacity + ")";
            if (!room.IsLocked && GUILayout.Button(text))
            {
                JoinRoom(room.Name);
                break;
            }
        }
        if (GUILayout.Button("New room"))
        {
            JoinRoom(social.User + "'s room");
        }
        foreach (SocialUser user in social.Users.Values)
        {
            if (user.Status == UserStatus.Online && GUILayout.Button("Call " + user.Name))
            {
                Show(CallAsync(user.Id));
                break;
            }
        }
    }

    async Task CallAsync(string user)
    {
        Call call = await social.CallAsync(new[] { user }, "join me");
        call.Accepted += JoinRoom;
    }

    void JoinRoom(string name)
    {
        session.roomName = name;
        session.version = version;
        session.Connect();
    }

    async void Show(Task request)
    {
        try
        {
            await request;
        }
        catch (Exception exception)
        {
            problem = exception.Message;
        }
    }
}
