// Classify a picture: Classify.exe PICTURE [URL], or with the .NET SDK: dotnet run -- PICTURE [URL]
// If the server requires a key, set CATSDOGS_KEY.
using System;
using System.IO;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Runtime.Serialization;
using System.Runtime.Serialization.Json;
using System.Threading.Tasks;

[DataContract]
public class Answer
{
    [DataMember(Name = "label", IsRequired = true)] public string Label;
    [DataMember(Name = "probability")] public double Probability;
}

[DataContract]
public class Problem
{
    [DataMember(Name = "code")] public string Code;
    [DataMember(Name = "detail")] public string Detail;
}

/// <summary>The server did not classify the picture. The code is a stable name for programs.</summary>
public class Refused : Exception
{
    public readonly string Code;

    public Refused(Problem problem) : base(problem.Code + ": " + problem.Detail) { Code = problem.Code; }
}

public static class Classifier
{
    const string Url = "http://127.0.0.1:8080/predictions/catsdogs";
    static readonly TimeSpan Timeout = TimeSpan.FromSeconds(10);
    const int Tries = 4;
    static readonly TimeSpan MaxWait = TimeSpan.FromSeconds(30);

    /// <summary>Return the answer to a picture.</summary>
    public static async Task<Answer> Classify(HttpClient client, byte[] picture, string url)
    {
        for (int attempt = 1; ; attempt++)
        {
            var content = new ByteArrayContent(picture);
            content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
            using (var response = await client.PostAsync(url, content))
            {
                int status = (int)response.StatusCode;
                if (status == 200) return Read<Answer>(await response.Content.ReadAsStreamAsync());
                if ((status != 429 && status != 503) || attempt == Tries)
                {
                    var kind = response.Content.Headers.ContentType;
                    if (kind == null || kind.MediaType != "application/problem+json")
                        throw new Refused(new Problem { Code = "http_" + status, Detail = response.ReasonPhrase });
                    throw new Refused(Read<Problem>(await response.Content.ReadAsStreamAsync()));
                }
                var after = response.Headers.RetryAfter;
                double wait = (after?.Delta ?? after?.Date - DateTimeOffset.Now ?? TimeSpan.FromSeconds(1)).TotalSeconds;
                await Task.Delay(TimeSpan.FromSeconds(Math.Max(0, Math.Min(wait, MaxWait.TotalSeconds))));
            }
        }
    }

    static T Read<T>(Stream json) { return (T)new DataContractJsonSerializer(typeof(T)).ReadObject(json); }

    public static int Main(string[] arguments)
    {
        if (arguments.Length < 1)
        {
            Console.Error.WriteLine("usage: Classify.exe PICTURE [URL]");
            return 2;
        }
        string url = arguments.Length > 1 ? arguments[1] : Url;
        string key = Environment.GetEnvironmentVariable("CATSDOGS_KEY");
        using (var client = new HttpClient { Timeout = Timeout })
        {
            if (key != null) client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
            try
            {
                Answer answer = Classify(client, File.ReadAllBytes(arguments[0]), url).GetAwaiter().GetResult();
                Console.WriteLine(FormattableString.Invariant($"{answer.Label} {answer.Probability}"));
                return 0;
            }
            catch (SerializationException)
            {
                Console.Error.WriteLine("not an answer of this API: is " + url + " right?");
            }
            catch (Exception error) when (error is HttpRequestException || error is TaskCanceledException)
            {
                Console.Error.WriteLine("no answer: " + error.GetBaseException().Message);
            }
            catch (Exception error)
            {
                Console.Error.WriteLine(error.Message);
            }
            return 1;
        }
    }
}
