using System;
using System.Collections.Generic;
using UnityEngine;
using UnityEngine.LowLevel;

namespace Nucleus.Unity
{
    /// <summary>The client of the program. It is polled at the begin of Unity's Update phase, before the
    /// Update of all scripts, so that scripts see this frame's events and poses. A poll needs no component:
    /// the step is part of the player loop.</summary>
    public static class NucleusRuntime
    {
        static NucleusClient client;

        /// <summary>The client. Started when it is needed first.</summary>
        public static NucleusClient Client
        {
            get
            {
                if (client == null || client.IsDisposed)
                {
                    client = new NucleusClient();
                    // A broken callback shows in the console, as in every other script.
                    client.CallbackFailed += Debug.LogException;
                    Install();
                    Application.quitting -= Shutdown;
                    Application.quitting += Shutdown;
                }
                return client;
            }
        }

        /// <summary>Leaves all rooms and ends the client. Runs when the program quits, and in the editor when
        /// play mode ends and before scripts are compiled anew.</summary>
        public static void Shutdown()
        {
            Application.quitting -= Shutdown;
            Uninstall();
            if (client != null)
            {
                client.Dispose();
                client = null;
            }
        }

        /// <summary>Static fields survive the begin of play mode if domain reload is switched off.</summary>
        [RuntimeInitializeOnLoadMethod(RuntimeInitializeLoadType.SubsystemRegistration)]
        static void Reset()
        {
            Shutdown();
        }

        static void Poll()
        {
            if (client == null || client.IsDisposed)
            {
                return;
            }
            try
            {
                client.Poll();
            }
            catch (Exception exception)
            {
                // An exception would end the player loop's frame.
                Debug.LogException(exception);
            }
        }

        static void Install()
        {
            Uninstall();
            PlayerLoopSystem loop = PlayerLoop.GetCurrentPlayerLoop();
            PlayerLoopSystem[] phases = loop.subSystemList ?? new PlayerLoopSystem[0];
            for (int i = 0; i < phases.Length; i++)
            {
                if (phases[i].type == typeof(UnityEngine.PlayerLoop.Update))
                {
                    var steps = new List<PlayerLoopSystem>();
                    steps.Add(new PlayerLoopSystem
                    {
                        type = typeof(NucleusRuntime),
                        updateDelegate = Poll,
                    });
                    steps.AddRange(phases[i].subSystemList ?? new PlayerLoopSystem[0]);
                    phases[i].subSystemList = steps.ToArray();
                    PlayerLoop.SetPlayerLoop(loop);
                    return;
                }
            }
            Debug.LogError("Nucleus: the player loop has no Update phase, so nothing polls the client");
        }

        static void Uninstall()
        {
            PlayerLoopSystem loop = PlayerLoop.GetCurrentPlayerLoop();
            PlayerLoopSystem[] phases = loop.subSystemList ?? new PlayerLoopSystem[0];
            bool isChanged = false;
            for (int i = 0; i < phases.Length; i++)
            {
                if (phases[i].subSystemList == null)
                {
                    continue;
                }
                var steps = new List<PlayerLoopSystem>(phases[i].subSystemList);
                if (steps.RemoveAll(step => step.type == typeof(NucleusRuntime)) > 0)
                {
                    phases[i].subSystemList = steps.ToArray();
                    isChanged = true;
                }
            }
            if (isChanged)
            {
                PlayerLoop.SetPlayerLoop(loop);
            }
        }
    }
}
