// Signs a join token with HS256. Needs .NET 5 or newer, or Mono, and no packages.
//
//   Token SECRET_FILE AUDIENCE TENANT PRODUCT USER [ROOM]
//
// SECRET_FILE is a text file with the secret that the server's `tokens.secret_file` has too.
// AUDIENCE is the server's `tokens.audience`, or its server id if that setting is left out.
//
// .NET has no Ed25519, so it cannot sign with the server's EdDSA. It can sign with ES256, in .NET 5
// or newer; then the server needs only the public key, and cannot make tokens itself. For ES256
// replace the HMAC below by these lines, and write "ES256" into the header:
//
//   var key = ECDsa.Create();
//   key.ImportFromPem(File.ReadAllText(keyFile));
//   byte[] signature = key.SignData(Encoding.ASCII.GetBytes(signed), HashAlgorithmName.SHA256);

using System;
using System.IO;
using System.Runtime.Serialization;
using System.Runtime.Serialization.Json;
using System.Security.Cryptography;
using System.Text;

[DataContract]
class Header
{
    [DataMember] public string alg = "HS256";
    [DataMember] public string typ = "JWT";
}

[DataContract]
class Claims
{
    [DataMember] public string sub;
    [DataMember] public string tenant;
    [DataMember] public string product; // "atom" or "assist"
    [DataMember] public string aud;
    [DataMember] public long iat;
    [DataMember] public long exp;
    // Without a room (null) the token admits to every room of the tenant.
    [DataMember(EmitDefaultValue = false)] public string room;
    // Optional too: name (the display name), role, grants, nbf.
}

static class Token
{
    // A client needs a valid token when it joins. An expired token ends no session.
    const long ValidSeconds = 3600;

    static string Base64Url(byte[] data)
    {
        return Convert.ToBase64String(data).TrimEnd('=').Replace('+', '-').Replace('/', '_');
    }

    static byte[] Json<T>(T value)
    {
        using (var stream = new MemoryStream())
        {
            new DataContractJsonSerializer(typeof(T)).WriteObject(stream, value);
            return stream.ToArray();
        }
    }

    static string Sign(byte[] secret, Claims claims)
    {
        string signed = Base64Url(Json(new Header())) + "." + Base64Url(Json(claims));
        using (var hmac = new HMACSHA256(secret))
        {
            byte[] signature = hmac.ComputeHash(Encoding.ASCII.GetBytes(signed));
            return signed + "." + Base64Url(signature);
        }
    }

    static int Main(string[] args)
    {
        if (args.Length < 5)
        {
            Console.Error.WriteLine("usage: Token SECRET_FILE AUDIENCE TENANT PRODUCT USER [ROOM]");
            return 2;
        }
        // The line end of the file is not part of the secret.
        byte[] secret = Encoding.UTF8.GetBytes(File.ReadAllText(args[0]).TrimEnd());
        long now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        var claims = new Claims
        {
            sub = args[4],
            tenant = args[2],
            product = args[3],
            aud = args[1],
            iat = now,
            exp = now + ValidSeconds,
            room = args.Length > 5 ? args[5] : null,
        };
        Console.WriteLine(Sign(secret, claims));
        return 0;
    }
}
